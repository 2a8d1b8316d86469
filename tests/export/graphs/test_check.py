"""A graph that is not valid ONNX stops an export in one line, before a weight is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from onnx import defs

from edgephi import EdgeError
from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.config import MODALITIES
from edgephi_export.checkpoint.selection import choose
from edgephi_export.graphs.builder import MICROSOFT, GraphBuilder
from edgephi_export.graphs.check import check_graphs
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.layouts.edgephi.plan import plan_bundle
from edgephi_export.layouts.genai.plan import plan_genai
from edgephi_export.layouts.layout import LayoutInput
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.recipe import make_recipe
from support.bundles import small_checkpoint
from support.public_model import write_public_checkpoint

FLOAT = ir.DataType.FLOAT
Add = Callable[[GraphBuilder, ir.Value], ir.Value]


def _weight(graph: GraphBuilder, *shape: int) -> ir.Value:
    return graph.stored("w", TensorRef(file="weights/w.bin", offset=0, dtype="float32", shape=shape))


BROKEN: dict[str, tuple[Add, str]] = {
    "wrong rank": (lambda g, x: g.op("Transpose", x, name="turned", perm=[0, 1, 2]), "turned"),
    "wrong rank of a weight": (
        lambda g, x: g.op("FusedMatMul", x, _weight(g, 8), name="linear", domain=MICROSOFT, transB=1), "1 axes"
    ),
    "wrong size of a weight": (
        lambda g, x: g.op("FusedMatMul", x, _weight(g, 4, 7), name="linear", domain=MICROSOFT, transB=1), "linear"
    ),
    "missing input": (lambda g, x: g.op("Relu", name="nothing"), "nothing"),
    "missing input of an operator of ONNX Runtime": (
        lambda g, x: g.op("QuickGelu", name="nothing", domain=MICROSOFT, alpha=1.0), "nothing"
    ),
    "dangling name": (lambda g, x: g.op("Relu", ir.Value(name="nowhere"), name="end"), "nowhere"),
    "wrong dtype": (lambda g, x: g.op("Add", x, g.constant([1]), name="sum"), "sum|Add"),
    "wrong dtype for an operator of ONNX Runtime": (
        lambda g, x: g.op("QuickGelu", g.constant([1]), domain=MICROSOFT, name="gelu", alpha=1.0), "QuickGelu"
    ),
    "unknown operator": (lambda g, x: g.op("Magic", x, name="trick"), "Magic"),
    "unknown operator of ONNX Runtime": (lambda g, x: g.op("Magic", x, name="trick", domain=MICROSOFT), "Magic"),
    "unknown attribute": (lambda g, x: g.op("Relu", x, name="relu", slope=2), "slope"),
}  # fmt: skip


def _graph(add: Add, shape: tuple[int | str, ...] = ("B", 8)) -> GraphBuilder:
    graph = GraphBuilder("test")
    graph.output(add(graph, graph.input("x", FLOAT, ["B", 8])), "y", FLOAT, shape)
    return graph


def _refusal(graph: GraphBuilder) -> str:
    with pytest.raises(EdgeError, match=r"^x.onnx: the graph that was built is not valid ONNX \(") as caught:
        check_graphs({"x.onnx": graph})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_refused_by_name(name: str):
    add, words = BROKEN[name]
    assert any(word in _refusal(_graph(add)) for word in words.split("|"))


def test_an_output_of_another_shape_than_it_says_is_refused():
    relu: Add = lambda g, x: g.op("Relu", x, name="relu")  # noqa: E731
    check_graphs({"x.onnx": _graph(relu)})
    assert "dimension" in _refusal(_graph(relu, ("B", 9)))
    assert "rank" in _refusal(_graph(relu, ("B", 8, 1)))


@pytest.mark.parametrize("layout", ["edgephi", "genai"])
def test_an_export_with_a_broken_graph_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str):
    def turned(self: LayerBuilder, inputs: ir.Value, name: str) -> ir.Value:
        return self.graph.op("Transpose", inputs, name=name, perm=[3, 2, 1, 0])

    monkeypatch.setattr(LayerBuilder, "swish", turned)
    reports: list[object] = []
    with pytest.raises(EdgeError, match=r"onnx: the graph that was built is not valid ONNX .*Transpose"):
        export(small_checkpoint("phi3").path, tmp_path / "out", ExportOptions(layout=layout), reports.append)  # type: ignore[arg-type]
    assert not reports  # no weight was read
    assert not list(tmp_path.iterdir())


def test_the_full_size_graphs_are_valid_and_the_operators_are_unknown_again_afterwards(tmp_path: Path):
    folder = write_public_checkpoint(tmp_path / "checkpoint", filled=False)
    recipe, everything = make_recipe("int4-fast"), choose(None, None, MODALITIES)
    bundle = plan_bundle(open_checkpoint(folder, everything), everything, WeightPlan(recipe), "int8")
    given = LayoutInput(
        options=ExportOptions(layout="genai"),
        checkpoint=open_checkpoint(folder, everything),
        selection=everything,
        weights=WeightPlan(recipe),
    )
    for graphs in (bundle.graphs, plan_genai(given).graphs):
        check_graphs(graphs)
    assert len(bundle.graphs) == 6
    assert not defs.has("QuickGelu", MICROSOFT)
