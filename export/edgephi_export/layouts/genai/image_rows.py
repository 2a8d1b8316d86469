"""Which rows of encoded views make up an image, and in which order: index arithmetic of vision.onnx.

N images, V views of the one with most tiles, P patches and h = P / 2 rows along a side of a view
table    the row separator, the global separator, then h * h rows of each view that shows something
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgephi_export.graphs.builder import Attribute, GraphBuilder

INT64 = ir.DataType.INT64
_TO_THE_END = np.iinfo(np.int64).max
_ROW_SEPARATOR, _GLOBAL_SEPARATOR, _FIRST_VIEW = 0, 1, 2


class ImageGrids:
    """The tiles of each image.

    Args:
        graph: Gets the nodes.
        mask: float32 [N, V, P, P], 1 for patches that show the image.
        down: int64 [N, 1], tiles one above the other.
        across: int64 [N, 1], tiles side by side.
    """

    def __init__(self, graph: GraphBuilder, mask: ir.Value, down: ir.Value, across: ir.Value) -> None:
        self.graph = graph
        self.down = down
        self.across = across
        self._mask = mask
        self._tiles = self.op("Mul", down, across)

    def op(self, kind: str, *inputs: ir.Value, **attributes: Attribute) -> ir.Value:
        """Add a node."""
        return self.graph.op(kind, *inputs, name="image_rows", domain="", **attributes)

    def range(self, count: ir.Value) -> ir.Value:
        """int64 [count]: 0 ... count - 1."""
        return self.op("Range", self.graph.constant(0), count, self.graph.constant(1))

    def shown_views(self) -> ir.Value:
        """int64 [K]: the numbers, among all N * V, of overviews and tiles that are there."""
        numbers = self.range(self._size(1))
        is_there = self.op("LessOrEqual", numbers, self._tiles)
        flat = self.graph.constant([-1])
        return self.op("Reshape", self.op("NonZero", self.op("Reshape", is_there, flat)), flat)

    def first_views(self) -> ir.Value:
        """int64 [N, 1]: the number of each image's overview among the shown views."""
        views = self.op("Add", self._tiles, self.graph.constant(1))
        return self.op("CumSum", views, self.graph.constant(0), exclusive=1)

    def useful(self) -> tuple[ir.Value, ir.Value]:
        """int64 [N, 1] each: rows and columns of the tiles that show the image, counted on every second patch."""
        constant, op = self.graph.constant, self.op
        ends = constant([_TO_THE_END] * 3)
        tiles = op("Slice", self._mask, constant([1, 0, 0]), ends, constant([1, 2, 3]), constant([1, 2, 2]))
        tiles = op("Cast", tiles, to=INT64.value)
        number = self.range(op("Squeeze", op("Shape", tiles, start=1, end=2)))
        is_there = op("Less", number, self._tiles)
        is_left = op("And", op("Equal", op("Mod", number, self.across), constant(0)), is_there)
        is_top = op("And", op("Less", number, self.across), is_there)
        return self._counted(tiles, is_left, 3), self._counted(tiles, is_top, 2)

    def per_image(self, values: ir.Value) -> ir.Value:
        """int64 [N, 1] as [N, 1, 1]."""
        return self.op("Unsqueeze", values, self.graph.constant([2]))

    def _counted(self, tiles: ir.Value, counts: ir.Value, axis: int) -> ir.Value:
        """The first line along an axis of the tiles that count, summed up: int64 [N, 1]."""
        line = self.op("Gather", tiles, self.graph.constant(0), axis=axis)
        weight = self.op("Unsqueeze", self.op("Cast", counts, to=INT64.value), self.graph.constant([2]))
        total = self.op("ReduceSum", self.op("Mul", line, weight), self.graph.constant([1, 2]), keepdims=0)
        return self.op("Unsqueeze", total, self.graph.constant([1]))

    def _size(self, axis: int) -> ir.Value:
        return self.op("Squeeze", self.op("Shape", self._mask, start=axis, end=axis + 1))


class ImageRows:
    """The order of rows.

    Args:
        grids: The tiles of each image.
        side: h.
    """

    def __init__(self, grids: ImageGrids, side: int) -> None:
        self._grids = grids
        self._side = side

    def indices(self) -> ir.Value:
        """int64 [Ni]: rows of the table, image after image: tiles, the global separator, the overview."""
        op, constant = self._grids.op, self._grids.graph.constant
        first = self._grids.per_image(self._grids.first_views())
        tiles, is_tile = self._tiles(first)
        overview = self._overview(first)
        per_image = op("Concat", op("Shape", overview, start=0, end=1), constant([-1]), axis=0)
        tiles, is_tile = op("Reshape", tiles, per_image), op("Reshape", is_tile, per_image)
        whole = op("Expand", constant(np.array([[True]])), op("Shape", overview))
        rows = op("Reshape", op("Concat", tiles, overview, axis=1), constant([-1]))
        return op("Compress", rows, op("Reshape", op("Concat", is_tile, whole, axis=1), constant([-1])), axis=0)

    def _tiles(self, first: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The largest image's grid and a column for separators, int64 [N, gh, gw + 1]; which of it are there."""
        grids, op, constant = self._grids, self._grids.op, self._grids.graph.constant
        side = constant(self._side)
        height, width = (op("Mul", op("ReduceMax", n, keepdims=0), side) for n in (grids.down, grids.across))
        row = op("Unsqueeze", grids.range(height), constant([1]))
        column = grids.range(op("Add", width, constant(1)))
        across = grids.per_image(grids.across)
        tile = op("Add", op("Mul", op("Div", row, side), across), op("Div", column, side))
        inner = op("Add", op("Mul", op("Mod", row, side), side), op("Mod", column, side))
        view = op("Add", op("Add", tile, constant(1)), first)
        index = op("Add", op("Mul", view, constant(self._side**2)), op("Add", inner, constant(_FIRST_VIEW)))
        useful_height, useful_width = map(grids.per_image, grids.useful())
        index = op("Where", op("Equal", column, useful_width), constant(_ROW_SEPARATOR), index)
        return index, op("And", op("Less", row, useful_height), op("LessOrEqual", column, useful_width))

    def _overview(self, first: ir.Value) -> ir.Value:
        """The global separator, and the overview with a separator after each row: int64 [N, 1 + h * (h + 1)]."""
        op, constant, side = self._grids.op, self._grids.graph.constant, self._side
        cells = (np.arange(side)[:, None] * side + np.arange(side + 1)).ravel() + _FIRST_VIEW
        is_separator = np.tile(np.arange(side + 1) == side, side)
        start = op("Mul", op("Squeeze", first, constant([2])), constant(side**2))
        places = op("Add", constant(np.concatenate([[0], cells]).astype(np.int64)), start)
        separators = np.concatenate([[_GLOBAL_SEPARATOR], np.full(len(is_separator), _ROW_SEPARATOR)]).astype(np.int64)
        return op("Where", constant(np.concatenate([[True], is_separator])), constant(separators), places)
