"""Builds vision.onnx: the image tower with the inputs that onnxruntime-genai gives it.

    N images, V views of the one with most tiles, C pixels and P patches along a side of a view, h = P / 2
    inputs   pixel_values float32 [N, V, 3, C, C]: the overview, then the tiles row by row, then zeros
             image_attention_mask float32 [N, V, P, P], 1 for patches that show the image
             image_sizes int64 [N, 2]: height and width of all tiles in pixels
    output   image_features float32 [Ni, H]: of each image its tiles, a separator after each row; the global separator;
             the overview, a separator after each row

The views of all images are encoded one after the other, each as edgephi's own runtime encodes it (see
graphs/vision_encoder.py), so an image gives the same rows whatever lies beside it, and memory holds one view.
"""

from __future__ import annotations

import onnx_ir as ir

from edgephi_export.checkpoint.config import VisionConfig
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.graphs.rotary_positions import refusal
from edgephi_export.graphs.vision_encoder import View, encode_view, place_separators
from edgephi_export.layouts.genai.image_rows import ImageGrids, ImageRows
from edgephi_export.layouts.genai.overview import with_overviews

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL
#: The public model's sizes: what a graph declares that refuses every image.
_PUBLIC_CROP, _PUBLIC_PATCHES = 448, 32


def build_vision(config: VisionConfig, layers: LayerBuilder, hidden: int) -> GraphBuilder:
    """The graph, its weights being planned.

    Args:
        config: The tower.
        layers: Adds the nodes; of a new graph.
        hidden: Width of the decoder.
    """
    return _GenaiVision(config, layers).build(hidden)


def build_without_vision(hidden: int) -> GraphBuilder:
    """A graph of the same inputs and output that refuses every image; the library loads no folder without one."""
    graph = GraphBuilder("vision")
    pixels, _, _ = _inputs(graph, _PUBLIC_CROP, _PUBLIC_PATCHES)
    count = graph.op("Cast", graph.op("Size", pixels, name="images"), name="images", to=BOOL.value)
    reason = "this folder takes no images: export the model with --adapters routed and all modalities"
    refused = graph.op("Cast", refusal(graph, count, reason), name="none", to=FLOAT.value)
    rows = graph.op("Expand", refused, graph.constant([1, hidden]), name="none")
    graph.output(rows, "image_features", FLOAT, ["Ni", hidden])
    return graph


def _inputs(graph: GraphBuilder, crop_size: int, patches: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    return (
        graph.input("pixel_values", FLOAT, ["N", "V", 3, crop_size, crop_size]),
        graph.input("image_attention_mask", FLOAT, ["N", "V", patches, patches]),
        graph.input("image_sizes", INT64, ["N", 2]),
    )


class _GenaiVision:
    def __init__(self, config: VisionConfig, layers: LayerBuilder) -> None:
        self.config = config
        self.layers = layers
        self.graph = layers.graph

    def build(self, hidden: int) -> GraphBuilder:
        graph, size, patches = self.graph, self.config.crop_size, self.config.patches_per_side
        pixels, mask, sizes = _inputs(graph, size, patches)
        down, across = (self._tiles(sizes, axis) for axis in (0, 1))
        grids = ImageGrids(graph, mask, down, across)
        pixels = with_overviews(graph, size, pixels, down, across)
        views = graph.op("Reshape", pixels, graph.constant([-1, 3, size, size]), name="views")
        masks = graph.op("Reshape", mask, graph.constant([-1, patches, patches]), name="masks")
        shown = grids.shown_views()
        count = graph.op("Squeeze", graph.op("Shape", shown, name="views"), name="views")

        def view(branch: GraphBuilder, index: ir.Value) -> ir.Value:
            number = branch.op("Gather", shown, index, name="number", axis=0)
            chosen = [branch.op("Gather", all_, number, name="view", axis=0) for all_ in (views, masks)]
            return self._view(branch, *chosen)

        features = graph.op(
            "Reshape", graph.repeat(count, view, name="view"), graph.constant([-1, hidden]), name="rows"
        )
        places = place_separators(self.layers.source, self.layers.plan, hidden)
        separators = [
            graph.op("Reshape", graph.stored(name, place), graph.constant([1, hidden]), name=name)
            for name, place in (("row_separator", places.row_separator), ("global_separator", places.global_separator))
        ]
        table = graph.op("Concat", *separators, features, name="table", axis=0)
        rows = ImageRows(grids, patches // 2).indices()
        graph.output(graph.op("Gather", table, rows, name="features", axis=0), "image_features", FLOAT, ["Ni", hidden])
        return graph

    def _tiles(self, sizes: ir.Value, axis: int) -> ir.Value:
        """int64 [N, 1]: tiles along a side of each image."""
        graph = self.graph
        side = graph.op("Slice", sizes, *map(graph.constant, ([axis], [axis + 1], [1])), name="side")
        return graph.op("Div", side, graph.constant(self.config.crop_size), name="tiles")

    def _view(self, branch: GraphBuilder, pixels: ir.Value, mask: ir.Value) -> ir.Value:
        """The rows of one view, float32 [h * h, H], from float32 [3, C, C] and [P, P]."""
        first = branch.constant([0])
        is_shown = branch.op(
            "Reshape", branch.op("Cast", mask, name="mask", to=BOOL.value), branch.constant([1, -1]), name="mask"
        )
        view = View(branch.op("Unsqueeze", pixels, first, name="pixels"), is_shown, self._position_ids(branch, mask))
        rows = encode_view(self.layers.within(branch), self.config, view)
        return branch.op("Squeeze", rows, first, name="view.rows")

    def _position_ids(self, branch: GraphBuilder, mask: ir.Value) -> ir.Value:
        """int64 [1, P * P]: along each axis, patch k of the n that show the image has position floor(k * P / n)."""
        side, constant = self.config.patches_per_side, branch.constant
        shown = branch.op("Cast", mask, name="positions", to=INT64.value)
        stretched = constant([index * side for index in range(side)])
        places = []
        for axis in (0, 1):
            line = branch.op("Gather", shown, constant(0), name="positions", axis=1 - axis)
            used = branch.op("ReduceSum", line, name="positions", keepdims=0)
            used = branch.op("Max", used, constant(1), name="positions")
            places.append(branch.op("Div", stretched, used, name="positions"))
        rows = branch.op(
            "Mul", branch.op("Unsqueeze", places[0], constant([1]), name="positions"), constant(side), name="positions"
        )
        grid = branch.op("Mul", branch.op("Add", rows, places[1], name="positions"), shown, name="positions")
        return branch.op("Reshape", grid, constant([1, -1]), name="positions")
