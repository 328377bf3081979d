"""Carry out the steps of the Dockerfile without Docker, in folders, and run what they make as the image's user.

    python docker/check.py --base ROOT --scratch FOLDER [--replace OLD NEW]... [--run ARGUMENT]...

ROOT is the root folder of a system with Python, such as one that debootstrap makes; a copy of it stands for the base
image. Each stage is a folder of SCRATCH, in which RUN is carried out by chroot, so this needs root. `--replace` puts
one text for another in RUN lines, where an index of packages has another place; each is printed. `--run`
gives the arguments of the entry point; they run as the user of the image, in its folder, which must be writable.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docker" / "Dockerfile"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the base image has its programs."""


@dataclass
class Stage:
    """One stage of the image: its folder, and what its instructions have set."""

    folder: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "HOME": "/root"})
    args: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    place: str = "/"
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def expand(self, text: str) -> str:
        """Return a text with its variables replaced."""
        known = {**self.args, **self.env}
        return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], ""), text)


def instructions(path: Path = FILE) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile: their names, and the rest of their lines, joined."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined)]


def context() -> list[str]:
    """Return the files that a build is given, by the rules of .dockerignore as it is written here."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    rules = (ROOT / ".dockerignore").read_text().split()
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    return [
        name for name in listed.stdout.split("\n") if any(fnmatch(name, k) or name.startswith(f"{k}/") for k in kept)
    ]


def copy(rest: str, stage: Stage, stages: dict[str, Stage]) -> None:
    """Carry out COPY."""
    words = shlex.split(rest)
    source = stages[words.pop(0).removeprefix("--from=")].folder if words[0].startswith("--from=") else None
    *names, target = words
    into = stage.folder / target.lstrip("/")
    for name in names:
        if source is not None:
            shutil.copytree(source / name.lstrip("/"), into, symlinks=True)
            continue
        found = [each for each in context() if each == name or each.startswith(f"{name}/")]
        assert found, f"COPY {name}: .dockerignore leaves nothing of it"
        for each in found:
            inner = each.removeprefix(name).lstrip("/")
            place = into / inner if inner else into / name if target.endswith("/") else into
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / each, place)


def chroot(stage: Stage, command: list[str], user: str = "0:0") -> subprocess.CompletedProcess[bytes]:
    """Run a command in the folder of a stage."""
    words = ["chroot", f"--userspec={user}", str(stage.folder), "/usr/bin/env", "-i", f"--chdir={stage.place}"]
    return subprocess.run([*words, *(f"{k}={v}" for k, v in stage.env.items()), *command], check=False)


def carry_out(base: Path, scratch: Path, args: dict[str, str], replaced: list[tuple[str, str]]) -> Stage:
    """Carry out all instructions; return the last stage."""
    stages: dict[str, Stage] = {}
    outer: dict[str, str] = {}
    stage: Stage | None = None
    for name, rest in instructions():
        began = time.monotonic()
        if name == "ARG":
            key, _, value = rest.partition("=")
            (outer if stage is None else stage.args)[key] = args.get(key, value)
            continue
        if name == "FROM":
            words = rest.split()
            stage = stages[words[-1]] = Stage(scratch / f"stage-{len(stages)}")
            subprocess.run(["cp", "-a", f"{base}/.", str(stage.folder)], check=True)
            print(f"FROM {rest}: {base} stands for it", flush=True)
            continue
        assert stage is not None
        if name == "RUN":
            command = rest
            for old, new in replaced:
                if old in command:
                    print(f"replaced: {old} -> {new}")
                    command = command.replace(old, new)
            assert (
                chroot(
                    stage,
                    [
                        "/bin/sh",
                        "-c",
                        "; ".join(f"{k}={shlex.quote(v)}" for k, v in stage.args.items())
                        + f"{'; ' if stage.args else ''}{command}",
                    ],
                ).returncode
                == 0
            ), f"RUN {rest}: failed"
            print(f"RUN {rest[:60]}...: {time.monotonic() - began:.0f} s", flush=True)
        elif name == "COPY":
            copy(rest, stage, stages)
        elif name == "ENV":
            stage.env |= {k: stage.expand(v) for k, _, v in (word.partition("=") for word in shlex.split(rest))}
        elif name in ("USER", "WORKDIR"):
            setattr(stage, {"USER": "user", "WORKDIR": "place"}[name], rest)
        elif name in ("ENTRYPOINT", "CMD"):
            setattr(stage, {"ENTRYPOINT": "entry", "CMD": "command"}[name], re.findall(r'"([^"]*)"', rest))
        else:
            assert name == "LABEL", f"{name}: is an instruction that this program does not know"
    assert stage is not None
    return stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--build-arg", action="append", default=[])
    parser.add_argument("--replace", nargs=2, action="append", default=[])
    parser.add_argument("--data", type=Path, help="a folder whose files are copied into the image's folder")
    parser.add_argument("--run", nargs=argparse.REMAINDER, default=[])
    given = parser.parse_args()
    args = dict(each.split("=", 1) for each in given.build_arg)
    image = carry_out(given.base, given.scratch, args, [tuple(pair) for pair in given.replace])
    assert image.user not in ("0:0", "root", "0"), "the image runs as root"
    for user in (image.user, "12345:12345"):
        folder = shlex.join(["sh", "-c", f"touch {image.place}/a && rm {image.place}/a && touch $NUMBA_CACHE_DIR/a"])
        assert chroot(image, shlex.split(folder), user).returncode == 0, f"user {user} cannot write"
        assert chroot(image, ["rm", f"{image.env['NUMBA_CACHE_DIR']}/a"], user).returncode == 0
    for path in given.data.iterdir() if given.data else ():
        shutil.copy(path, image.folder / image.place.lstrip("/"))
        os.chmod(image.folder / image.place.lstrip("/") / path.name, 0o644)  # noqa: PTH101
    size = subprocess.run(["du", "-sm", str(image.folder)], capture_output=True, text=True, check=True).stdout.split()[
        0
    ]
    print(f"size: {size} MB, with the base", flush=True)
    sys.exit(chroot(image, [*image.entry, *(given.run or image.command)], image.user).returncode)


if __name__ == "__main__":
    main()
