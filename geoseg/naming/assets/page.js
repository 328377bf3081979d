"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const classes = new Map(data.classes.map((entry) => [entry.id, { ...entry, typed: entry.name }]));
  const status = (text) => { $("status").textContent = text; };
  let chosen = null;
  let dirty = false;

  // ---- The map: a PNG of palette indices, whose palette is written anew when colours change. ----
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n >>> 0;
  });
  const crc = (bytes) => {
    let sum = 0xffffffff;
    for (const byte of bytes) sum = crcTable[(sum ^ byte) & 255] ^ (sum >>> 8);
    return (sum ^ 0xffffffff) >>> 0;
  };
  // Writes entries of the chunks PLTE and tRNS; paint(index) returns [red, green, blue, alpha].
  const painted = (png, paint) => {
    const copy = png.slice();
    const view = new DataView(copy.buffer);
    for (let at = 8; at < copy.length;) {
      const length = view.getUint32(at);
      const kind = String.fromCharCode(...copy.subarray(at + 4, at + 8));
      if (kind === "PLTE") {
        for (let i = 0; i < length / 3; i += 1) copy.set(paint(i).slice(0, 3), at + 8 + 3 * i);
      } else if (kind === "tRNS") {
        for (let i = 0; i < length; i += 1) copy[at + 8 + i] = paint(i)[3];
      }
      if (kind === "PLTE" || kind === "tRNS") view.setUint32(at + 8 + length, crc(copy.subarray(at + 4, at + 8 + length)));
      at += length + 12;
    }
    return copy;
  };
  const decoded = async (png) => {
    const url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    const image = new Image();
    image.src = url;
    await image.decode();
    URL.revokeObjectURL(url);
    return image;
  };
  const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

  const stage = $("view") ? viewer() : null;
  let waiting = false;
  const repaint = () => {
    if (!stage || waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; stage.paint(); });
  };

  function viewer() {
    const view = $("view");
    const canvas = $("map");
    const scene = $("scene");
    const clip = view.querySelector(".clip");
    const divider = $("divider");
    const png = bytesOf(data.map.png);
    const { width, height } = data.map;
    let scale = 1, left = 0, top = 0, fitted = 1, split = 0.5, indices = null, turn = 0;
    canvas.width = width;
    canvas.height = height;
    for (const layer of [canvas, scene]) { layer.style.width = `${width}px`; layer.style.height = `${height}px`; }

    async function paint() {
      const mine = (turn += 1);
      const image = await decoded(painted(png, (i) => {
        const entry = classes.get(data.map.ids[i - 1]);
        return entry ? [...rgb(entry.colour), chosen === null || chosen === entry.id ? 255 : 0] : [0, 0, 0, 0];
      }));
      if (mine !== turn) return;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, width, height);
      context.drawImage(image, 0, 0);
      canvas.dataset.painted = String(mine);
    }
    // Which class each pixel has, for the readout: the same picture, painted with its indices.
    async function readIndices() {
      const image = await decoded(painted(png, (i) => [i, i, i, 255]));
      const hidden = document.createElement("canvas");
      hidden.width = width;
      hidden.height = height;
      const context = hidden.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      indices = context.getImageData(0, 0, width, height).data;
    }
    // Without its border.
    const room = () => ({ width: view.clientWidth, height: view.clientHeight });
    function place() {
      const box = room();
      const free = (size, space) => [Math.min(space - size * scale, 0) - space / 2, Math.max(space - size * scale, 0) + space / 2];
      const bound = (value, [least, most]) => Math.min(Math.max(value, least), most);
      left = bound(left, free(width, box.width));
      top = bound(top, free(height, box.height));
      for (const layer of [canvas, scene]) layer.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
      canvas.classList.toggle("sharp", scale * devicePixelRatio > 1);
      const x = split * box.width;
      clip.style.clipPath = `inset(0 0 0 ${x}px)`;
      divider.style.left = `${x}px`;
      divider.setAttribute("aria-valuenow", String(Math.round(100 * split)));
      drawScale();
    }
    function drawScale() {
      const bar = $("scale");
      bar.hidden = !data.map.metres;
      if (bar.hidden) return;
      const metres = (140 * data.map.metres) / scale;
      const unit = 10 ** Math.floor(Math.log10(metres));
      const length = [5, 2, 1].find((factor) => factor * unit <= metres) * unit;
      bar.style.width = `${(length / data.map.metres) * scale + 16}px`;
      bar.textContent = length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(1))} m`;
    }
    function fit() {
      const box = room();
      fitted = scale = Math.min(box.width / width, box.height / height);
      left = (box.width - width * scale) / 2;
      top = (box.height - height * scale) / 2;
      place();
    }
    function zoom(factor, x, y) {
      const box = room();
      const [px, py] = [x ?? box.width / 2, y ?? box.height / 2];
      const next = Math.min(Math.max(scale * factor, fitted / 2), Math.max(24, fitted * 8));
      left = px - ((px - left) * next) / scale;
      top = py - ((py - top) * next) / scale;
      scale = next;
      place();
    }
    function slide(to) { split = Math.min(Math.max(to, 0), 1); place(); }

    const at = (event) => {
      const box = view.getBoundingClientRect();
      return [event.clientX - box.left - view.clientLeft, event.clientY - box.top - view.clientTop];
    };
    const pointers = new Map();
    let sliding = false;
    view.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      sliding = event.target === divider;
      view.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      view.classList.toggle("dragging", !sliding);
    });
    view.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      const before = pointers.get(event.pointerId);
      if (!before) { read(x, y); return; }
      if (sliding) { slide(x / view.clientWidth); return; }
      if (pointers.size === 1) {
        left += x - before[0];
        top += y - before[1];
        place();
      } else {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const distance = (from) => Math.hypot(from[0] - other[0], from[1] - other[1]);
        zoom(distance([x, y]) / Math.max(1, distance(before)), (x + other[0]) / 2, (y + other[1]) / 2);
      }
      pointers.set(event.pointerId, [x, y]);
    });
    const end = (event) => {
      pointers.delete(event.pointerId);
      if (!pointers.size) { sliding = false; view.classList.remove("dragging"); }
    };
    view.addEventListener("pointerup", end);
    view.addEventListener("pointercancel", end);
    view.addEventListener("pointerleave", () => { $("readout").textContent = ""; });
    view.addEventListener("dblclick", (event) => { if (event.target !== divider) zoom(2, ...at(event)); });
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      zoom(Math.exp((-event.deltaY * lines * (event.ctrlKey ? 5 : 1)) / 500), ...at(event));
    }, { passive: false });
    view.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const onDivider = event.target === divider;
      const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (onDivider && step) slide(split - 0.02 * (step[0] + step[1]) * (event.shiftKey ? 5 : 1));
      else if (onDivider && event.key === "Home") slide(0);
      else if (onDivider && event.key === "End") slide(1);
      else if (step) { left += 60 * step[0]; top += 60 * step[1]; place(); }
      else if (event.key === "+" || event.key === "=") zoom(1.4);
      else if (event.key === "-" || event.key === "_") zoom(1 / 1.4);
      else if (event.key === "0") fit();
      else return;
      event.preventDefault();
    });
    function read(x, y) {
      const [col, row] = [Math.floor((x - left) / scale), Math.floor((y - top) / scale)];
      const inside = indices && col >= 0 && row >= 0 && col < width && row < height;
      const entry = inside && classes.get(data.map.ids[indices[4 * (row * width + col)] - 1]);
      $("readout").textContent = entry ? entry.name : "";
    }
    $("zoom-in").addEventListener("click", () => zoom(1.4));
    $("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
    $("fit").addEventListener("click", fit);
    $("opacity").addEventListener("input", (event) => { canvas.style.opacity = event.target.value / 100; });
    // The view keeps its middle when the window changes; it fits again if it did before.
    let last = room();
    new ResizeObserver(() => {
      const box = room();
      if (Math.abs(scale - fitted) < 1e-9) {
        fit();
      } else {
        left += (box.width - last.width) / 2;
        top += (box.height - last.height) / 2;
        place();
      }
      last = box;
    }).observe(view);
    fit();
    paint();
    readIndices();
    return { paint };
  }

  // ---- One class at a time, with its examples beside the map. ----
  const cardOf = (id) => document.querySelector(`.card[data-id="${id}"]`);
  function choose(id) {
    chosen = chosen === id ? null : id;
    for (const button of all(".entry:not([disabled]), .card button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.id) === chosen));
    }
    for (const card of all(".card")) card.classList.toggle("chosen", Number(card.dataset.id) === chosen);
    $("show-all").disabled = chosen === null;
    $("panel").hidden = chosen === null;
    if (chosen !== null) {
      const card = cardOf(chosen);
      const patches = card.querySelector(".patches");
      $("panel-patches").replaceChildren(...(patches ? [patches.cloneNode(true)] : []));
      $("panel").querySelector(".note").textContent = card.querySelector(".note").textContent;
      $("panel-name").setAttribute("aria-label", `Name of class ${chosen}`);
      $("panel-colour").setAttribute("aria-label", `Colour of class ${chosen}`);
      $("panel-name").value = card.querySelector("input[type=text]").value;
      $("panel-colour").value = classes.get(chosen).colour;
      const line = document.querySelector(`.entry[data-id="${chosen}"]`);
      const list = line.closest(".entries");
      const below = line.offsetTop - list.offsetTop;
      if (below < list.scrollTop || below + line.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = below - 60;
    }
    check();
    status(chosen === null ? "All classes are shown" : `Only ${classes.get(chosen).name} is shown`);
    repaint();
  }
  for (const entry of all(".entry:not([disabled])")) entry.addEventListener("click", () => choose(Number(entry.dataset.id)));
  for (const button of all(".card button")) {
    button.addEventListener("click", () => {
      if (chosen !== Number(button.dataset.id)) choose(Number(button.dataset.id));
      $("view").scrollIntoView({ block: "center" });
      $("view").focus({ preventScroll: true });
    });
  }
  if ($("show-all")) $("show-all").addEventListener("click", () => choose(chosen));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && chosen !== null) choose(chosen); });

  // ---- Names and colours. ----
  const clean = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, " ").replace(/\p{Cs}/gu, "").trim();
  const refused = (name) => !name || /^no ?data$/i.test(name);
  function problemOf(entry) {
    if (!entry.typed) return `A class needs a name; it stays \u2068${entry.original}\u2069.`;
    if (refused(entry.typed)) return `Pixels without a class are called so; it stays \u2068${entry.original}\u2069.`;
    const first = [...classes.values()].find((other) => other.name === entry.name);
    if (first !== entry) return `Has the name of class ${first.id}: they are saved as one class, in the colour of class ${first.id}.`;
    return "";
  }
  function tell(box, entry) {
    box.querySelector(".problem").textContent = problemOf(entry);
    box.querySelector("input[type=text]").setAttribute("aria-invalid", String(refused(entry.typed)));
  }
  function check() {
    for (const card of all(".card")) tell(card, classes.get(Number(card.dataset.id)));
    if (chosen !== null) tell($("panel"), classes.get(chosen));
    for (const line of all(".entry")) {
      const { name, colour } = classes.get(Number(line.dataset.id));
      line.querySelector(".name").textContent = name;
      line.querySelector(".name").title = name;
      line.querySelector(".swatch").style.background = colour;
    }
    $("saved").textContent = dirty ? "Changed, not saved yet" : "";
  }
  // The fields of the sheet hold what was typed; those beside the map show the same.
  function take(card) {
    const entry = classes.get(Number(card.dataset.id));
    const before = `${entry.colour}${entry.typed}`;
    entry.typed = clean(card.querySelector("input[type=text]").value);
    entry.name = refused(entry.typed) ? entry.original : entry.typed;
    entry.colour = card.querySelector("input[type=color]").value.toLowerCase();
    dirty ||= before !== `${entry.colour}${entry.typed}`;
    if (entry.id === chosen) {
      for (const [field, kind] of [[$("panel-name"), "text"], [$("panel-colour"), "color"]]) {
        const { value } = card.querySelector(`input[type=${kind}]`);
        if (field !== document.activeElement) field.value = value;
      }
    }
  }
  for (const entry of classes.values()) { entry.original = entry.name; entry.colour = entry.colour.toLowerCase(); }
  for (const card of all(".card")) {
    card.addEventListener("input", () => { take(card); check(); repaint(); });
    // A browser may bring back what was typed before the page was loaded again.
    take(card);
  }
  for (const [id, kind] of [["panel-name", "text"], ["panel-colour", "color"]]) {
    if (!$(id)) continue;
    $(id).addEventListener("input", () => {
      const card = cardOf(chosen);
      card.querySelector(`input[type=${kind}]`).value = $(id).value;
      take(card);
      check();
      repaint();
    });
  }
  if ($("panel-name")) {
    $("panel-name").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      const ids = all(".entry:not([disabled])").map((line) => Number(line.dataset.id));
      choose(ids[(ids.indexOf(chosen) + 1) % ids.length]);
      $("panel-name").focus();
      $("panel-name").select();
    });
  }
  // Classes of one name become one, with the id and colour of the first.
  function classMap() {
    const merged = new Map();
    for (const { id, name, colour, clusters } of classes.values()) {
      const same = merged.get(name);
      if (same) same.clusters.push(...clusters);
      else merged.set(name, { id, name, colour, clusters: [...clusters] });
    }
    const entries = [...merged.values()];
    for (const entry of entries) entry.clusters.sort((one, other) => one - other);
    return { classes: entries };
  }
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(classMap(), null, 1)}\n`], { type: "application/json" }));
    link.download = data.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    dirty = false;
    check();
    $("saved").textContent = `Saved as ${data.file}`;
    status(`Saved as ${data.file}`);
  };
  for (const button of all("button.save")) button.addEventListener("click", save);
  window.addEventListener("beforeunload", (event) => { if (dirty) event.preventDefault(); });
  check();
  repaint();
})();
