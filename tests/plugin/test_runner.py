"""The process that runs geoseg: what is heard of it, how it ends, and its environment. Fake programs play geoseg."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from geoseg_qgis.process import clean_environment
from geoseg_qgis.runner import Geoseg, GeosegError, Progress

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fake programs are scripts of Unix")

Fake = Callable[..., Geoseg]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Make a geoseg of a few lines of Python, which have `json`, `os`, `signal`, `sys`, `time` and `tell`."""

    def make(*parts: str, **settings: object) -> Geoseg:
        script = tmp_path / "a folder with spaces & é" / "geoseg.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            "import json, os, signal, subprocess, sys, time\n"
            "def tell(**fields): print(json.dumps(fields), file=sys.stderr, flush=True)\n"
            + "\n".join(map(textwrap.dedent, parts)),
            encoding="utf-8",
        )
        return Geoseg([sys.executable, "-S", str(script)], **settings)  # type: ignore[arg-type]

    return make


def step(done: int, total: int = 4) -> str:
    return (
        f"tell(stage='predict', kind='step', done={done}, total={total}, unit='block', seconds=1.5, message='{done}')\n"
    )


def test_progress_messages_and_output_are_told_apart(fake: Fake) -> None:
    program = fake(
        step(1),
        """
        tell(kind='warning', message='pixels are large')
        tell(stage='predict', kind='note', done=1, total=4, unit='block', seconds=2, message='with model x')
        print('not JSON', file=sys.stderr)
        print(json.dumps(sys.argv[1:]))
        """,
        step(4),
    )
    seen: list[Progress] = []
    said: list[tuple[str, str]] = []
    result = program.run(["predict", "a b.tif"], seen.append, lambda kind, text: said.append((kind, text)))
    assert result.ok
    assert result.json() == ["--progress", "json", "predict", "a b.tif"]
    assert said == [("warning", "pixels are large"), ("note", "with model x"), ("log", "not JSON")]
    assert [each.fraction for each in seen] == [0.25, 0.25, 1.0]
    assert seen[0] == Progress("predict", 1, 4, "block", 1.5, "1")


def test_the_error_is_the_programs_own_line(fake: Fake) -> None:
    program = fake("tell(kind='error', status=65, message='scene.tif: torn', details=['a', 'b']); sys.exit(65)")
    result = program.run(["predict"])
    assert (result.status, result.error, result.details, result.cancelled) == (65, "scene.tif: torn", ("a", "b"), False)
    with pytest.raises(GeosegError, match=r"^scene\.tif: torn$"):
        result.check()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("print('Usage\\n\\nError: no such option: --x', file=sys.stderr); sys.exit(2)", "Error: no such option: --x"),
        ("os._exit(3)", "geoseg ended with status 3 and without a word"),
        ("os.kill(os.getpid(), 9)", "geoseg ended with signal 9 and without a word"),
        ("raise ImportError('DLL load failed')", "ImportError: DLL load failed"),
    ],
)
def test_an_error_that_is_no_json_is_told_all_the_same(fake: Fake, body: str, error: str) -> None:
    assert fake(body).run([]).error == error


def test_pipes_are_drained_however_much_is_written(fake: Fake) -> None:
    program = fake("""
        for i in range(4000):
            print('x' * 1000, file=sys.stderr)
            sys.stdout.write('y' * 1000)
    """)
    lines = 0

    def count(_: str, text: str) -> None:
        nonlocal lines
        lines += len(text) == 1000

    result = program.run([], on_message=count)
    assert (lines, len(result.output), result.status) == (4000, 4_000_000, 0)


def test_a_program_that_closes_its_pipes_is_waited_for(fake: Fake, tmp_path: Path) -> None:
    program = fake("os.close(1); os.close(2); time.sleep(0.4); open('done', 'w').close()", folder=str(tmp_path))
    assert program.run([]).ok
    assert (tmp_path / "done").exists()


def test_a_child_that_keeps_the_pipes_open_delays_nothing(fake: Fake) -> None:
    program = fake("""
        print(subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']).pid, flush=True)
    """)
    start = time.monotonic()
    result = program.run([])
    assert result.ok
    os.kill(int(result.output), 9)
    assert time.monotonic() - start < 30


def test_cancelling_lets_the_program_say_what_is_kept(fake: Fake) -> None:
    program = fake(
        """
        def stop(*_):
            kept = '3 of 4 blocks are kept; to continue: geoseg predict x'
            os.write(2, json.dumps({'kind': 'interrupted', 'stage': 'predict', 'message': kept}).encode())
            os._exit(143)
        signal.signal(signal.SIGTERM, stop)
        """,
        step(3),
        "time.sleep(60)",
    )
    started = threading.Event()
    result = program.run([], lambda _: started.set(), cancelled=started.is_set)
    assert result.cancelled
    assert (result.status, result.error) == (143, "")
    assert result.kept == "3 of 4 blocks are kept; to continue: geoseg predict x"


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_that_does_not_end_is_killed_with_its_children(fake: Fake) -> None:
    program = fake(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])
        print(child.pid, flush=True)
        """,
        step(1),
        "time.sleep(60)",
        grace_seconds=0.3,
    )
    started = threading.Event()
    result = program.run([], lambda _: started.set(), cancelled=started.is_set)
    assert result.cancelled
    assert result.status == -9
    end = time.monotonic() + 30
    while _runs(int(result.output)):
        assert time.monotonic() < end, "the child goes on"
        time.sleep(0.02)


def test_a_command_that_finished_before_it_was_told_to_end_is_done(fake: Fake) -> None:
    program = fake("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", step(1), "time.sleep(60)")
    started = threading.Event()
    result = program.run([], lambda _: started.set(), cancelled=started.is_set)
    assert result.ok
    assert not result.cancelled


def test_a_callback_that_raises_leaves_no_process_behind(fake: Fake) -> None:
    program = fake("print(os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(60)\n")
    pids: list[str] = []

    def fail(_: str, text: str) -> None:
        pids.append(text)
        raise RuntimeError("the window was closed")

    with pytest.raises(RuntimeError, match="window"):
        program.run([], on_message=fail)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_the_version_is_checked(fake: Fake) -> None:
    assert fake("print('geoseg, version 1.2.3')").version() == (1, 2, 3)
    assert fake("print('geoseg, version 0.2.0.dev1')").version() == (0, 2, 0)
    with pytest.raises(GeosegError, match=r"geoseg 0\.0\.9, but this plugin needs 0\.1\.0 or newer"):
        fake("print('geoseg, version 0.0.9')").version()
    with pytest.raises(GeosegError, match="it answers 'hello' to --version"):
        fake("print('hello')").version()
    with pytest.raises(
        GeosegError, match="there is no geoseg that works: ModuleNotFoundError: No module named 'click'"
    ):
        fake("raise ModuleNotFoundError(\"No module named 'click'\")").version()


def test_a_missing_program_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(GeosegError, match=r"gone: No such file or directory; choose an environment"):
        Geoseg([str(tmp_path / "gone")]).run([])
    script = tmp_path / "geoseg"
    script.write_text("no program")
    with pytest.raises(GeosegError, match="Permission denied"):
        Geoseg([str(script)]).version()


def test_variables_of_qgis_do_not_reach_the_program(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/nowhere")
    program = fake("print(json.dumps(dict(os.environ)))", variables={"HTTPS_PROXY": "http://proxy:3128"})
    seen = program.run([]).json()
    assert not [name for name in seen if name.startswith(("PROJ_", "GDAL_", "VIRTUAL"))]
    assert [name for name in seen if name.startswith("PYTHON")] == ["PYTHONUTF8"]
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert seen["HOME"] == os.environ["HOME"]


def test_library_folders_of_a_bundle_are_taken_off(tmp_path: Path) -> None:
    bundle, other = tmp_path / "bundle", tmp_path / "other"
    for folder, name in ((bundle, "libgdal.so.34"), (other, "libcuda.so.1")):
        folder.mkdir()
        (folder / name).touch()
    given = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, (bundle, other))), "PATH": "/usr/bin", "HTTP_PROXY": "p"}
    assert clean_environment(given) == {"LD_LIBRARY_PATH": str(other), "PATH": "/usr/bin", "HTTP_PROXY": "p"}
    assert "LD_LIBRARY_PATH" not in clean_environment({"LD_LIBRARY_PATH": str(bundle)})


def test_the_search_path_loses_what_belongs_to_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/Applications/QGIS.app/Contents/MacOS")
    path = os.pathsep.join(
        ["/Applications/QGIS.app/Contents/MacOS/bin", "/opt/homebrew/bin", "/Applications/QGIS.apps"]
    )
    assert clean_environment({"PATH": path})["PATH"] == os.pathsep.join(
        ["/opt/homebrew/bin", "/Applications/QGIS.apps"]
    )


def test_json_that_is_none_is_an_error(fake: Fake) -> None:
    with pytest.raises(GeosegError, match="no JSON"):
        fake("print('no')").run([]).json()
