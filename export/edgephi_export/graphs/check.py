"""Refuses graphs that are not valid ONNX, before a weight is read: a broken one would fail on the device instead."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from edgephi.base.errors import EdgeError
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.contrib_schemas import registered


def check_graphs(graphs: Mapping[str, GraphBuilder]) -> None:
    """Run the ONNX checker and strict shape inference on every graph.

    The weight files need not exist: their tensors are checked by type and shape. Of the full-size model this takes
    about a second.

    Args:
        graphs: By file name.

    Raises:
        EdgeError: One is not valid. The message names the graph and the node or value, in one line.
    """
    with tempfile.TemporaryDirectory(prefix="edgephi-") as made, registered():
        for name, graph in graphs.items():
            path = Path(made) / name
            graph.save(path)
            # The checker looks whether weight files are there, and into none.
            for file in {ref.file for ref in graph.places.values()}:
                place = path.parent / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            try:
                onnx.checker.check_model(path, full_check=True, check_custom_domain=True)
            except (ValidationError, InferenceError) as error:
                raise EdgeError(
                    f"{name}: the graph that was built is not valid ONNX ({_one_line(error)}); nothing was written. "
                    "This is a fault of edgephi: please report it"
                ) from error


def _one_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
