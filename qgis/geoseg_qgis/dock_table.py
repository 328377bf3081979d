"""The table of classes, and the examples of the chosen class, as Qt shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qgis.gui import QgsColorDialog
from qgis.PyQt.QtCore import QAbstractTableModel, QModelIndex, QRect, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QBrush, QColor, QCursor, QFont, QIcon, QPainter, QPalette, QPen, QPixmap
from qgis.PyQt.QtWidgets import QAbstractItemView, QHeaderView, QListWidget, QListWidgetItem, QMenu, QTableView

from .dock_classes import LandClass, Naming, NamingError, Row

COLOUR, NAME, GUESS, HECTARES, SHARE = range(5)
_HEADS = ("", "Class", "May be", "ha", "Share")
_HELP = (
    "Double-click to choose another colour",
    "Double-click to type what the class is. The name of another class makes it part of that one.",
    "A guess from colour and texture. Double-click to accept it.",
    "Area in hectares",
    "Share of the mapped area",
)
_CENTRE = Qt.AlignmentFlag.AlignVCenter
_LEFT, _RIGHT = Qt.AlignmentFlag.AlignLeft | _CENTRE, Qt.AlignmentFlag.AlignRight | _CENTRE
_SIDE = 84
"""Side of an example in pixels."""
_ROOM = {HECTARES: 42, GUESS: 32}
"""Columns that are hidden where the table has not this many characters' room, so that names keep theirs."""


def swatch(colour: str, size: int = 16) -> QIcon:
    """Return a square in a colour."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(colour))
    painter = QPainter(pixmap)
    painter.setPen(QPen(QColor(0, 0, 0, 110)))
    painter.drawRect(0, 0, size - 1, size - 1)
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # which is tinted otherwise
    return icon


class ClassModel(QAbstractTableModel):
    """The rows of a `Naming`.

    Signals:
        edited: The edits have changed.
        said: Something to tell the user: the text, and whether an edit was refused.
    """

    edited = pyqtSignal()
    said = pyqtSignal(str, bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.naming = Naming(())
        self.rows: list[Row] = []

    def show(self, naming: Naming) -> None:
        """Show other classes."""
        self.naming = naming
        self.refresh()

    def refresh(self) -> None:
        """Show the classes as they are by now."""
        self.beginResetModel()
        self.rows = self.naming.rows()
        self.endResetModel()

    def change(self, edit: Callable[[], Any]) -> None:
        """Make an edit; one that is not possible is told."""
        try:
            told = edit()
        except NamingError as error:
            self.said.emit(str(error), True)
            return
        self.refresh()
        self.edited.emit()
        self.said.emit(told if isinstance(told, str) else "", False)

    def place_of(self, class_id: int) -> int:
        """Return the row of a class; -1 if it is not there."""
        return next((i for i, row in enumerate(self.rows) if row.entry.id == class_id), -1)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # the signature of Qt
        """Number of classes, those that are merged too."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Number of columns."""
        return 0 if parent.isValid() else len(_HEADS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        """Heads of the columns."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return _HEADS[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return _HELP[section]
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if section >= HECTARES else _LEFT
        return None

    def flags(self, index: QModelIndex) -> Any:
        """Names can be edited, except those of classes that are merged."""
        flags = super().flags(index)
        if index.isValid() and index.column() == NAME and self.rows[index.row()].into is None:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Rename a class."""
        row = self.rows[index.row()]
        if role != Qt.ItemDataRole.EditRole or str(value).strip() == row.entry.name:
            return False
        self.change(lambda: self.naming.rename(row.entry.id, str(value)))
        return True

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, column)
        if role == Qt.ItemDataRole.EditRole and column == NAME:
            return row.entry.name
        if role == Qt.ItemDataRole.DecorationRole and column == COLOUR:
            return swatch(row.entry.colour)
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(row.entry, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= HECTARES:
            return _RIGHT
        if role == Qt.ItemDataRole.ForegroundRole and (row.into is not None or column == GUESS):
            return QBrush(_grey())
        if role == Qt.ItemDataRole.FontRole and column == NAME:
            font = QFont()
            font.setBold(row.changed and row.into is None)
            font.setItalic(row.into is not None)
            return font
        return None


def _grey() -> QColor:
    colour = QPalette().color(QPalette.ColorRole.Text)
    colour.setAlpha(150)
    return colour


def _text(row: Row, column: int) -> str:
    entry = row.entry
    if column == NAME:
        return f"    ↳ {entry.name}" if row.into is not None else entry.name
    if column == GUESS:
        return f"{entry.guess}?" if entry.guess and row.into is None else ""
    if column == HECTARES and entry.hectares is not None:
        return f"{entry.hectares:,.{0 if entry.hectares >= 100 else 1 if entry.hectares >= 1 else 2}f}"
    if column == SHARE and entry.share is not None:
        return f"{100 * entry.share:.1f} %" if entry.share else "none"
    return ""


def _tip(entry: LandClass, column: int) -> str:
    sure = "" if entry.confidence is None else f", mean confidence {entry.confidence:.2f}"
    guess = f"\nMay be {entry.guess}" if entry.guess else ""
    return f"{entry.name} (id {entry.id}{sure}){guess}\n{_HELP[column]}"


class ClassTable(QTableView):
    """The table.

    Signals:
        chosen: Other classes are selected.
    """

    chosen = pyqtSignal()

    def __init__(self, model: ClassModel, parent: Any = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self.classes = model
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        head = self.horizontalHeader()
        head.setHighlightSections(False)
        head.setMinimumSectionSize(24)
        for column in range(len(_HEADS)):
            fixed = QHeaderView.ResizeMode.ResizeToContents
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch if column == NAME else fixed)
        self.doubleClicked.connect(self._ask)
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())

    @property
    def is_editing(self) -> bool:
        """Whether a name is being typed."""
        return bool(self.state() == QAbstractItemView.State.EditingState)

    def ids(self) -> list[int]:
        """Return the ids of the selected classes."""
        return [self.classes.rows[index.row()].entry.id for index in self.selectionModel().selectedRows()]

    def choose(self, ids: Sequence[int]) -> None:
        """Select classes, and scroll to the first."""
        places = [self.classes.place_of(class_id) for class_id in ids]
        self.clearSelection()
        flags = self.selectionModel().SelectionFlag
        for place in (place for place in places if place >= 0):
            index = self.classes.index(place, NAME)
            self.selectionModel().select(index, flags.Select | flags.Rows)
            if place == places[0]:
                self.selectionModel().setCurrentIndex(index, flags.NoUpdate)
                self.scrollTo(index)

    def refresh(self) -> None:
        """Show the classes as they are by now. The selected ones stay selected."""
        chosen = self.ids()
        self.classes.refresh()
        self.choose(chosen)

    def change(self, name: str, *arguments: Any) -> None:
        """Make an edit, by the name of a method of `Naming`. The selected classes stay selected."""
        naming, chosen = self.classes.naming, self.ids()
        if getattr(naming, f"can_{name}", True):
            self.classes.change(lambda: getattr(naming, name)(*arguments))
            self.choose(chosen)

    def ask_merge(self) -> None:
        """Ask which of the selected classes the others become part of."""
        ids, menu = self.ids(), QMenu(self)
        for row in (self.classes.naming.row(class_id) for class_id in ids):
            if row.into is None:
                action = menu.addAction(swatch(row.entry.colour), f"into {row.entry.name}")
                action.triggered.connect(lambda _=False, into=row.entry.id: self.change("merge", ids, into))
        menu.popup(QCursor.pos())

    def ask_colour(self) -> None:
        """Ask for another colour of the selected classes."""
        rows = [row for row in map(self.classes.naming.row, self.ids()) if row.into is None]
        if rows:
            first = rows[0].entry
            colour = QgsColorDialog.getColor(QColor(first.colour), self, f"Colour of {first.name}")
            if colour.isValid():
                self.change("recolour", [row.entry.id for row in rows], colour.name())

    def resizeEvent(self, event: Any) -> None:
        """Leave the names room in a narrow dock."""
        for column, characters in _ROOM.items():
            self.setColumnHidden(column, self.viewport().width() < characters * self.fontMetrics().averageCharWidth())
        super().resizeEvent(event)

    def _ask(self, index: QModelIndex) -> None:
        if index.column() == COLOUR:
            self.ask_colour()
        elif index.column() == GUESS:
            self.change("accept_guesses", self.ids())


class Examples(QListWidget):
    """Places of a class in the imagery.

    Signals:
        place_wanted: The bounds of a place that was clicked.
    """

    place_wanted = pyqtSignal(tuple)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setViewMode(QListWidget.ViewMode.IconMode)
        self.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.setMovement(QListWidget.Movement.Static)
        self.setUniformItemSizes(True)
        self.setSpacing(2)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setGridSize(QSize(_SIDE + 4, _SIDE + 4))
        self.setMinimumHeight(_SIDE + 12)
        self.setToolTip("Examples of the class, outlined. Click one to see it on the map.")
        self.itemClicked.connect(lambda item: self.place_wanted.emit(item.data(Qt.ItemDataRole.UserRole)))

    def show_class(self, entry: LandClass | None, sheet: QPixmap) -> None:
        """Show the examples of a class, which are cut out of the class sheet."""
        self.clear()
        smooth = Qt.TransformationMode.SmoothTransformation
        for place in entry.places if entry is not None else ():
            item = QListWidgetItem(QIcon(sheet.copy(QRect(*place.box)).scaledToHeight(_SIDE, smooth)), "")
            item.setData(Qt.ItemDataRole.UserRole, place.extent)
            self.addItem(item)
