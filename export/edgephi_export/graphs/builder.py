"""A small builder over onnx_ir: nodes one call each, branches as functions, small constants shared and at the root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.bundle.tensor_ref import TensorRef

OPSET = 21  # the newest whose operators used here all have float32 CPU kernels in ONNX Runtime 1.31
IR_VERSION = 10
MICROSOFT = "com.microsoft"
Axes = Sequence[int | str]
T = TypeVar("T")
Attribute = int | float | str | Sequence[int] | ir.Graph


class GraphBuilder:
    """Builds one graph; `branch` makes the builders of its subgraphs.

    Args:
        name: The graph's name.
        root: The builder whose graph holds the small constants; None for the root itself.
        is_for_gpu: Of nodes that compute the same, take those that GPUs have kernels for.
    """

    def __init__(self, name: str, root: GraphBuilder | None = None, *, is_for_gpu: bool = False) -> None:
        self._name = name
        self.is_for_gpu: bool = is_for_gpu if root is None else root.is_for_gpu
        self._root = root or self
        self._nodes: list[ir.Node] = []
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._constants: dict[str, ir.Value] = {}
        self._places: dict[str, TensorRef] = {}
        self._used_names: dict[str, int] = {}
        self._shared: dict[object, Any] = {}

    def input(self, name: str, dtype: ir.DataType, shape: Axes) -> ir.Value:
        """A graph input; a string in `shape` is a free axis."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self._inputs.append(value)
        return value

    def output(self, value: ir.Value, name: str, dtype: ir.DataType, shape: Axes) -> None:
        """Make `value` a graph output under `name`."""
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
        self._outputs.append(value)

    def op(
        self, op_type: str, *inputs: ir.Value | None, name: str = "", domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """Add a node with one output."""
        return self.ops(op_type, *inputs, count=1, name=name, domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        count: int,
        name: str = "",
        domain: str = "",
        **attributes: Attribute,
    ) -> tuple[ir.Value, ...]:
        """Add a node with `count` outputs."""
        unique = self._root._unique(f"{name}.{op_type}" if name else op_type)
        outputs = [ir.Value(name=f"{unique}.{i}" if i else unique) for i in range(count)]
        self._nodes.append(ir.node(op_type, inputs, attributes, domain=domain, outputs=outputs, name=unique))
        return tuple(outputs)

    def constant(self, array: NDArray[np.generic] | np.generic | Sequence[int] | int) -> ir.Value:
        """A small constant kept inside the graph file; whole numbers become int64. Equal ones are shared."""
        values = np.asarray(array)
        key = f"const.{values.dtype}.{values.shape}.{values.tobytes().hex()}"
        if key not in self._root._constants:
            name = f"const_{len(self._root._constants)}"
            self._root._constants[key] = _initializer(name, ir.Tensor(values, name=name))
        return self._root._constants[key]

    def stored(self, name: str, ref: TensorRef) -> ir.Value:
        """A constant of this graph or branch whose data lies in a weights file.

        ONNX Runtime packs a branch's own constants when it loads the graph. Those that a branch within a branch takes
        from the outermost graph it leaves as they are, and spreads the whole matrix at every call.

        Raises:
            ValueError: The name has another place in this graph or another branch.
        """
        if self._root._places.setdefault(name, ref) != ref:
            raise ValueError(f"{name} has two places, {self._root._places[name]} and {ref}")
        if name not in self._constants:
            self._constants[name] = _initializer(name, _external_tensor(name, ref))
        return self._constants[name]

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """The result of `make` for `key`; nodes that several others read are added once.

        A branch takes what its outermost graph has, and has the rest for itself.
        """
        held = self._root._shared if key in self._root._shared else self._shared
        if key not in held:
            held[key] = make()
        made: T = held[key]
        return made

    def choose(
        self,
        condition: ir.Value,
        then: Callable[[GraphBuilder], ir.Value],
        otherwise: Callable[[GraphBuilder], ir.Value],
        *,
        name: str,
    ) -> ir.Value:
        """An `If`: `then(branch)` where `condition` holds, else `otherwise(branch)`.

        The functions add nodes to their branch, may use values of this graph, and return a value of their own branch.
        """
        then_branch, else_branch = self._branch(f"{name}.then", then), self._branch(f"{name}.else", otherwise)
        return self.op("If", condition, name=name, then_branch=then_branch, else_branch=else_branch)

    def repeat(self, count: ir.Value, body: Callable[[GraphBuilder, ir.Value], ir.Value], *, name: str) -> ir.Value:
        """A `Loop`: the results of `body(branch, index)` for 0 ... count - 1, stacked along a new first axis.

        The function adds nodes to its branch, may use values of this graph, and returns a value of its own branch that
        has the same shape at every call. `count` and `index` are int64 [].
        """
        branch = GraphBuilder(name, self._root)
        index = branch.input(f"{name}.index", ir.DataType.INT64, [])
        going_on = branch.input(f"{name}.going_on", ir.DataType.BOOL, [])
        result = body(branch, index)
        outputs = [branch.op("Identity", going_on, name=name), result]
        initializers = list(branch._constants.values())
        graph = ir.Graph(branch._inputs, outputs, nodes=branch._nodes, initializers=initializers, name=name)
        return self.op("Loop", count, None, name=name, body=graph)

    @cached_property
    def serialized(self) -> bytes:
        """The finished graph as a file holds it, for checking and for writing. Nothing can be added afterwards."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=list(self._constants.values()),
            opset_imports={"": OPSET, MICROSOFT: 1},
            name=self._name,
        )
        model = ir.Model(graph, ir_version=IR_VERSION, producer_name="edgephi")
        serialized: bytes = ir.to_proto(model).SerializeToString()
        return serialized

    @property
    def places(self) -> dict[str, TensorRef]:
        """The constants of the graph and its branches that lie in weight files, by name."""
        return dict(self._root._places)

    def save(self, path: Path) -> None:
        """Write the graph; the data of weights stays in its files."""
        path.write_bytes(self.serialized)

    def _branch(self, name: str, fill: Callable[[GraphBuilder], ir.Value]) -> ir.Graph:
        branch = GraphBuilder(name, self._root)
        output = fill(branch)
        return ir.Graph([], [output], nodes=branch._nodes, initializers=list(branch._constants.values()), name=name)

    def _unique(self, name: str) -> str:
        count = self._used_names.get(name, 0)
        self._used_names[name] = count + 1
        return f"{name}_{count}" if count else name


def _external_tensor(name: str, ref: TensorRef) -> ir.ExternalTensor:
    """Graphs stand at the bundle's root, so the path is relative to them."""
    dtype = ir.DataType.from_numpy(np.dtype(ref.dtype))
    return ir.ExternalTensor(ref.file, ref.offset, ref.num_bytes, dtype, shape=ir.Shape(ref.shape), name=name)


def _initializer(name: str, tensor: ir.Tensor[Any] | ir.ExternalTensor) -> ir.Value:
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
