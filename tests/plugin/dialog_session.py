"""Run by a Python with Qt: open the dialog of settings, find and test a geoseg, and draw it to the PNG argv[1].

With QGIS it is QGIS's Qt 5. With "qt6" as argv[2] it is PyQt6, and the little that the dialog needs of QGIS is played,
so that names of Qt are those of Qt 6.
"""

import json
import sys
import time
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "qgis"))
kept = {}


def play_qgis():
    """Put modules called qgis in place, with PyQt6 and settings that are a dictionary."""
    import PyQt6.QtCore
    import PyQt6.QtGui
    import PyQt6.QtWidgets

    class Settings:
        def value(self, name, default=None, type=None):
            return kept.get(name, default)

        def setValue(self, name, value):  # noqa: N802
            kept[name] = value

    class Application:
        @staticmethod
        def qgisSettingsDirPath():  # noqa: N802
            return str(Path(sys.argv[1]).parent)

    core = types.ModuleType("qgis.core")
    core.QgsSettings, core.QgsApplication = Settings, Application
    qt = types.ModuleType("qgis.PyQt")
    sys.modules |= {"qgis": types.ModuleType("qgis"), "qgis.core": core, "qgis.PyQt": qt}
    for name in ("QtCore", "QtGui", "QtWidgets"):
        sys.modules[f"qgis.PyQt.{name}"] = getattr(PyQt6, name)
    return PyQt6.QtWidgets.QApplication([])


def wait(application, dialog, word):
    """Let the dialog work until its log has a word."""
    end = time.monotonic() + 120
    while word not in dialog.log.toPlainText():
        if time.monotonic() > end:
            raise SystemExit(f"no {word!r} in: {dialog.log.toPlainText()}")
        application.processEvents()
        time.sleep(0.02)


def main():
    if sys.argv[2] == "qt6":
        application = play_qgis()
    else:
        from qgis.core import QgsApplication

        application = QgsApplication([], True)
        application.initQgis()
    from geoseg_qgis import settings
    from geoseg_qgis.settings_dialog import SettingsDialog

    dialog = SettingsDialog()
    dialog.show()
    dialog.environment.setText("/nowhere")
    dialog.find()
    wait(application, dialog, "error: /nowhere: no such environment")
    dialog.environment.setText(sys.argv[3])
    for _ in range(100):  # the buttons are there again when the log has been shown
        application.processEvents()
        time.sleep(0.02)
    dialog.find()
    wait(application, dialog, "found: ")
    time.sleep(0.2)
    application.processEvents()
    dialog.test()
    wait(application, dialog, "works: geoseg ")
    dialog.grab().save(sys.argv[1], "PNG")
    dialog.reject()
    print(json.dumps({"log": dialog.log.toPlainText().splitlines(), "kept": settings.value(settings.ENVIRONMENT)}))


main()
