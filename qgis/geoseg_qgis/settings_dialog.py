"""The dialog of settings: find geoseg, test it, or make an environment for it, with every line that this prints."""

from __future__ import annotations

import queue
import threading
from typing import Any

from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from . import settings
from .environment import Installation, checkout, create, find
from .runner import GeosegError

_POLL_MILLISECONDS = 100
_LINES_SHOWN = 5000


class SettingsDialog(QDialog):
    """Chooses the environment of geoseg.

    Args:
        parent: The window above it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("geoseg: settings")
        self.resize(720, 560)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self.environment = QLineEdit(settings.value(settings.ENVIRONMENT))
        self.environment.setPlaceholderText("empty: the one that was created here, otherwise geoseg on the search path")
        self.source = QLineEdit(settings.value(settings.SOURCE) or _source())
        self.source.setToolTip("geoseg from PyPI, once it is released there; or the path of a wheel or of a checkout")
        self.source.setPlaceholderText("geoseg, or the path of a wheel or of a checkout")
        self.index = QLineEdit(settings.value(settings.INDEX))
        self.index.setPlaceholderText("empty: PyPI; otherwise the address of an index, or a folder of wheels")
        self.cpu_only = QCheckBox("PyTorch for CPUs only (gigabytes smaller; otherwise a GPU is used if there is one)")
        self.cpu_only.setChecked(settings.value(settings.CPU_ONLY) == "true")
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_LINES_SHOWN)
        self._buttons = [
            self._button("Find", self.find, "Look for geoseg where the settings say"),
            self._button("Test", self.test, "Start geoseg and ask for its version"),
            self._button("Create environment", self.create, f"Install geoseg into {settings.own_environment()}"),
        ]
        self.cancel = self._button("Cancel", self._stop.set, "End the installation")
        self.cancel.setEnabled(False)
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._show_lines)
        self._timer.start(_POLL_MILLISECONDS)

    def _button(self, text: str, action: Any, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.clicked.connect(lambda *_: action())
        return button

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Python environment that has geoseg: its folder, its Python, or the program geoseg"))
        find_button, test_button, create_button = self._buttons
        choose = self._button("Choose…", self.choose, "Choose the folder of an environment")
        layout.addLayout(_row(self.environment, choose, find_button, test_button))
        group = QGroupBox("Create an environment (venv or uv, apart from QGIS's own Python)")
        form = QFormLayout(group)
        form.addRow("Install", self.source)
        form.addRow("Package index", self.index)
        form.addRow(self.cpu_only)
        form.addRow(_row(create_button, self.cancel))
        layout.addWidget(group)
        layout.addWidget(self.log, 1)
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        box.rejected.connect(self.reject)
        layout.addWidget(box)

    def choose(self) -> None:
        """Choose the folder of an environment."""
        folder = QFileDialog.getExistingDirectory(self, "Environment of geoseg", self.environment.text())
        if folder:
            self.environment.setText(folder)

    def find(self) -> None:
        """Say which geoseg the settings choose."""
        self._work(lambda: self._lines.put("found: " + " ".join(self._found().program)))

    def test(self) -> None:
        """Start geoseg, and say its version."""
        self._work(lambda: self._lines.put("works: geoseg " + ".".join(map(str, self._found().version()))))

    def _found(self) -> Any:
        return find(settings.value(settings.ENVIRONMENT), self._own, self._variables)

    def create(self) -> None:
        """Make an environment and install geoseg into it; it is used from then on."""
        installation = Installation(
            source=self.source.text().strip() or _source(),
            index=self.index.text().strip(),
            cpu_only=self.cpu_only.isChecked(),
            variables=settings.proxy_variables(),
        )
        self.environment.clear()
        self._work(lambda: create(self._own, installation, self._lines.put, self._stop.is_set))

    def _work(self, action: Any) -> None:
        """Do something in a thread, so that the window stays alive, and show its error."""
        if self._worker is not None:
            return
        self._save()
        self._own, self._variables = settings.own_environment(), settings.proxy_variables()
        self._stop.clear()

        def work() -> None:
            try:
                action()
            except GeosegError as error:
                self._lines.put(f"error: {error}")
            except Exception as error:  # what this thread raised would be lost
                self._lines.put(f"error: {type(error).__name__}: {error}")

        self._worker = threading.Thread(target=work, name="geoseg settings", daemon=True)
        self._worker.start()
        self._enable()

    def _show_lines(self) -> None:
        while not self._lines.empty():
            self.log.appendPlainText(self._lines.get())
        if self._worker is not None and not self._worker.is_alive() and self._lines.empty():
            self._worker = None
            self._enable()

    def _enable(self) -> None:
        for button in self._buttons:
            button.setEnabled(self._worker is None)
        self.cancel.setEnabled(self._worker is not None)

    def _save(self) -> None:
        settings.save(settings.ENVIRONMENT, self.environment.text().strip())
        source = self.source.text().strip()
        settings.save(settings.SOURCE, "" if source == _source() else source)
        settings.save(settings.INDEX, self.index.text().strip())
        settings.save(settings.CPU_ONLY, "true" if self.cpu_only.isChecked() else "")

    def done(self, result: int) -> None:
        """Close: an installation ends, and the settings are kept."""
        self._stop.set()
        if self._worker is not None:
            self._worker.join()
        self._save()
        self._timer.stop()
        super().done(result)


def _source() -> str:
    """What is installed by default: the checkout that the plugin runs from, or else geoseg from PyPI."""
    return str(checkout() or "geoseg")


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
