"""Commands of geoseg that the dock runs in the background, so that QGIS stays usable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .dock_layers import release, reopen, showing
from .dock_map import History, MapRecord
from .runner import GeosegError, Result

Done = Callable[[Result], None]


class _Absent:
    """Stands for a geoseg that was not found."""

    def __init__(self, error: GeosegError) -> None:
        self._error = error

    def run(self, *_: Any, **__: Any) -> Any:
        """Raise why."""
        raise self._error


class Work(QObject):
    """The running commands.

    Args:
        geoseg: Returns the geoseg of the configured environment, or raises `GeosegError`.

    Signals:
        changed: A command has begun or ended: what runs, or nothing.
        progressed: The share that is done, in per cent.
        failed: The one-line error of a command.
    """

    changed = pyqtSignal(str)
    progressed = pyqtSignal(float)
    failed = pyqtSignal(str)

    def __init__(self, geoseg: Callable[[], Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._geoseg = geoseg
        self._tasks: dict[int, tuple[Any, bool]] = {}

    @property
    def running(self) -> bool:
        """Whether a command runs."""
        return bool(self._tasks)

    def cancel(self) -> None:
        """Tell all commands to end."""
        for task, _ in list(self._tasks.values()):
            task.cancel()

    def run(self, title: str, arguments: Sequence[str], done: Done, minor: bool = False) -> None:
        """Run a command.

        Args:
            title: What it does, for the user.
            arguments: The command and its options.
            done: Called with its `Result` when it has ended, however it ended; what it raises is told the user.
            minor: Whether it only reads, so that it may be cancelled when files are to be changed.
        """
        number = max(self._tasks, default=0) + 1

        try:
            program = self._geoseg()  # here, as it reads QGIS's settings
        except GeosegError as error:
            program = _Absent(error)

        def work(task: Any) -> Any:
            return program.run(
                arguments, on_progress=lambda p: task.setProgress(100 * p.fraction), cancelled=task.isCanceled
            )

        def finished(error: Exception | None, result: Result | None = None) -> None:
            del self._tasks[number]
            self.changed.emit("")
            if result is None:  # it could not be started, or was cancelled before
                result = Result(status=1, error=str(error), cancelled=not isinstance(error, GeosegError))
            try:
                done(result)
            except Exception as told:  # QGIS would drop it without a word
                if not result.cancelled or result.kept:
                    self.failed.emit(str(told) or repr(told))

        task = QgsTask.fromFunction(f"geoseg: {title}", work, on_finished=finished)
        task.progressChanged.connect(self.progressed.emit)
        self._tasks[number] = (task, minor)
        self.changed.emit(title)
        QgsApplication.taskManager().addTask(task)

    def change(
        self,
        record: MapRecord,
        model: Path | None,
        title: str,
        arguments: Sequence[str],
        done: Done,
    ) -> None:
        """Run a command that changes a map and its model: what was before is kept, and layers show what is then.

        Args:
            record: The map.
            model: Its model, if it changes.
            title, arguments, done: See `run`.

        Raises:
            NamingError: The present state cannot be kept; nothing is changed.
        """
        history, shown = History(record.raster), showing(record.files)
        step = history.keep([*([model] if model else []), *record.files])

        def finished(result: Result) -> None:
            try:
                history.close(step)
            finally:
                reopen(shown)
                done(result)

        for task, minor in list(self._tasks.values()):
            if minor:
                task.cancel()
        release(shown)
        self.run(title, arguments, finished)


def go_back(record: MapRecord) -> None:
    """Bring back a map and its model as they were before the last change.

    Raises:
        NamingError: See `History.undo`.
    """
    shown = showing(record.files)
    release(shown)
    try:
        History(record.raster).undo()
    finally:
        reopen(shown)
