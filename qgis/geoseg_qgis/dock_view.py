"""What the dock is made of: its widgets, and the actions of its toolbar. What they do is in `dock`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSplitter,
    QTabWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .dock_classes import Naming
from .dock_table import ClassModel, ClassTable, Examples

_HELP = (
    "<b>1</b> Click <b>Pick</b> and then a class on the map, or choose it below, and look at its examples. <b>2</b>"
    " Double-click its name and type what it is. <b>3</b> <b>Apply</b>."
)
_NO_MAP = (
    "<b>Begin here:</b> <a href='map'>open a map</a>, a class raster (.tif) that geoseg wrote."
    " <i>Processing ▸ geoseg ▸ Map a scene</i> makes one."
)
_NO_MODEL = "Its model is not beside it: new names will be in this map only, until you choose the model."
_OTHERS = (
    "Its model has other classes by now. <a href='model'>Give the map those of the model</a>, or else Apply gives the"
    " model those of the map."
)

_LABELLED = ("pick", "merge")
_WIDE = 64
"""Characters' room that their texts need."""
_ACTIONS = (
    ("pick", "/mActionIdentify.svg", "Pick", "Click classes on the map to choose them", ""),
    ("only", "/mActionShowSelectedLayers.svg", "Only", "Show only the chosen classes on the map; others are pale", ""),
    ("undo", "/mActionUndo.svg", "Undo", "Undo the last change", "Ctrl+Z"),
    ("redo", "/mActionRedo.svg", "Redo", "Do it again", "Ctrl+Shift+Z"),
    ("merge", "/mActionMergeFeatures.svg", "Merge", "Merge the chosen classes into one of them", ""),
    ("out", "/mActionSplitFeatures.svg", "Take out", "Let classes that are merged be classes again", ""),
    ("colour", "/mIconColorBox.svg", "Colour", "Give the chosen classes another colour", ""),
    ("guess", "/mActionLabeling.svg", "Guesses", "Call all classes without a name by their guesses: 'water?'", ""),
    ("suggest", "/mActionMergeFeatureAttributes.svg", "Suggest", "Merge classes that look alike, to look at", ""),
    ("revert", "/mActionReload.svg", "Revert", "Undo all changes that are not applied", ""),
)
"""Name, icon, text, tool tip and key of the actions."""


class NamingView(QWidget):
    """The widgets of the dock.

    Args:
        classes: What the table shows.
    """

    def __init__(self, classes: ClassModel) -> None:
        super().__init__()
        self.maps, self.scenes, self.model = QComboBox(), QComboBox(), QgsFileWidget()
        for box in (self.maps, self.scenes):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.currentIndexChanged.connect(lambda _, box=box: _show_tip(box))
        self.model.setFilter("Models of geoseg (*.safetensors)")
        self.open_map, self.open_scene = _button("Open a map that geoseg made"), _button("Open the scene of the map")
        self.table, self.examples, self.pages = ClassTable(classes), Examples(), QTabWidget()
        self.hint, self.status, self.progress = QLabel(), QLabel(), QProgressBar()
        for label in (self.hint, self.status):
            label.setWordWrap(True)
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(8)
        self.apply, self.back, self.stop = QPushButton("Apply"), QPushButton("Undo last apply"), QPushButton("Stop")
        self.apply.setToolTip("Write the changes to the map and its model, in the background")
        self.back.setToolTip("Bring back the map and its model as they were before the last Apply")
        self.actions_by_name: dict[str, Any] = {}
        self._lay_out()

    def show_running(self, running: bool) -> None:
        """Show the progress of a command, or hide it."""
        for widget in (self.progress, self.stop):
            widget.setVisible(running)
        self.progress.setValue(0)

    def show_state(self, naming: Naming, there: bool, writing: bool, steps: bool) -> None:
        """Enable what can be done now.

        Args:
            naming: The classes.
            there: Whether there is a map.
            writing: Whether it is being changed.
            steps: Whether there is a change to go back from.
        """
        edits, chosen = bool(naming.edits), set(self.table.ids())
        rows = [row for row in naming.rows() if row.entry.id in chosen]
        self.pages.setEnabled(not writing)
        for widget in (self.maps, self.model, self.scenes):
            widget.setEnabled(there and not writing)
        self.apply.setEnabled(edits and not writing)
        self.back.setEnabled(there and steps and not edits and not writing)
        states = dict.fromkeys(("pick", "only", "guess", "suggest"), there)
        states.update(undo=naming.can_undo, redo=naming.can_redo, revert=edits, colour=bool(rows))
        states["merge"] = sum(row.into is None for row in rows) > 1
        states["out"] = any(row.into is not None or row.parts for row in rows)
        for name, state in states.items():
            self.actions_by_name[name].setEnabled(state)

    def show_hints(self, naming: Naming, there: bool, model: bool, others: bool) -> None:
        """Say what to do next: whether there is a map, its model, and whether this has other classes."""
        hints = [] if there else [_NO_MAP]
        if there:
            hints += [] if naming.edits or any(not entry.unnamed for entry in naming.classes) else [_HELP]
            hints += [_OTHERS] if others else [] if model else [_NO_MODEL]
        self.hint.setText("<br>".join(hints))
        self.hint.setVisible(bool(hints))

    def warn(self, bar: Any, text: str, settings: Callable[[], None] | None) -> None:
        """Show an error in QGIS's message bar, with a button to the settings where these are the way out."""
        message = bar.createMessage("geoseg", text)
        if settings is not None:
            button = QPushButton("Settings…", message)
            button.clicked.connect(lambda *_: settings())
            message.layout().addWidget(button)
        bar.pushWidget(message, Qgis.MessageLevel.Warning, 0)

    def ask_leave(self, text: str) -> Any:
        """Ask whether to apply edits, keep or discard them, or stay; return the standard button."""
        box, button = QMessageBox(self), QMessageBox.StandardButton
        box.setText(text)
        box.setInformativeText("Changes that are kept come back when this map is chosen again.")
        box.setStandardButtons(button.Apply | button.Save | button.Discard | button.Cancel)
        box.button(button.Save).setText("Keep for later")
        box.setDefaultButton(button.Save)
        return box.exec()

    def resizeEvent(self, event: Any) -> None:
        """Say what the main buttons do, where there is room."""
        wide = self.width() > _WIDE * self.fontMetrics().averageCharWidth()
        style = Qt.ToolButtonStyle
        for name in _LABELLED:
            button = self._bar.widgetForAction(self.actions_by_name[name])
            button.setToolButtonStyle(style.ToolButtonTextBesideIcon if wide else style.ToolButtonIconOnly)
        super().resizeEvent(event)

    def _lay_out(self) -> None:
        form, layout, naming, page = QFormLayout(), QVBoxLayout(self), QWidget(), QVBoxLayout()
        form.addRow("Map", _row(self.maps, self.open_map))
        form.addRow("Model", self.model)
        form.addRow("Scene", _row(self.scenes, self.open_scene))
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        halves = QSplitter(Qt.Orientation.Vertical)
        halves.addWidget(self.table)
        halves.addWidget(self.examples)
        halves.setStretchFactor(0, 1)
        halves.setSizes([500, self.examples.gridSize().height() * 2 + 8])
        page.addWidget(self.hint)
        page.addWidget(self._toolbar())
        page.addWidget(halves, 1)
        page.addLayout(_row(self.back, None, self.apply))
        naming.setLayout(page)
        self.pages.addTab(naming, "Name classes")
        layout.addLayout(form)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.status)
        layout.addLayout(_row(self.progress, self.stop))
        for each in (page, layout):
            each.setContentsMargins(6, 6, 6, 6)

    def _toolbar(self) -> QToolBar:
        self._bar = bar = QToolBar()
        bar.setIconSize(bar.iconSize() * 0.67)
        for name, icon, text, tip, key in _ACTIONS:
            if name in ("undo", "merge", "guess", "revert"):
                bar.addSeparator()
            action = bar.addAction(QgsApplication.getThemeIcon(icon), text)
            action.setToolTip(f"{tip} ({key})" if key else tip)
            if key:
                action.setShortcut(key)
                action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                self.table.addAction(action)
            action.setCheckable(name in ("pick", "only"))
            self.actions_by_name[name] = action
        return bar


def fill(box: QComboBox, items: Sequence[tuple[str, str, str]], chosen: str) -> None:
    """Fill a box with texts, their data and tooltips, and choose one by its data, without a signal."""
    box.blockSignals(True)
    box.clear()
    for place, (text, value, tip) in enumerate(items):
        box.addItem(text, value)
        box.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
    box.setCurrentIndex(max(box.findData(chosen), 0) if items else -1)
    _show_tip(box)
    box.blockSignals(False)


def _show_tip(box: QComboBox) -> None:
    box.setToolTip(box.itemData(box.currentIndex(), Qt.ItemDataRole.ToolTipRole) or "")


def ask_file(parent: QWidget, title: str, kinds: str) -> Path | None:
    """Ask for a file to open."""
    path, _ = QFileDialog.getOpenFileName(parent, title, "", kinds)
    return Path(path) if path else None


def quietly(widget: Any, change: Callable[[Any], Any]) -> None:
    """Change a widget without a signal."""
    widget.blockSignals(True)
    change(widget)
    widget.blockSignals(False)


def _button(tip: str) -> QToolButton:
    button = QToolButton()
    button.setText("…")
    button.setToolTip(tip)
    return button


def _row(*widgets: QWidget | None) -> QHBoxLayout:
    """Widgets side by side: the first takes the room, unless there is a gap (None)."""
    line = QHBoxLayout()
    for i, widget in enumerate(widgets):
        if widget is None:
            line.addStretch(1)
        else:
            line.addWidget(widget, 1 if i == 0 and None not in widgets else 0)
    return line
