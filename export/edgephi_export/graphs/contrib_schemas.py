"""Schemas of the operators that ONNX Runtime adds to ONNX, as far as the graphs here use them.

The ONNX checker knows none of them: it would leave their nodes unchecked, and shape inference would end at the first.
Each schema allows no more inputs and attributes than the builders give, so it is stricter than ONNX Runtime's own
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

    B batch, S new positions, C cache capacity, H heads, H_kv kv heads, D head size, K inputs, N outputs of a linear
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onnx import defs, helper
from onnx.defs import OpSchema
from onnx.shape_inference import InferenceContext, InferenceError

from edgephi_export.graphs.builder import MICROSOFT

#: A size, the name of a free one, or None where nothing is known.
Dim = int | str | None
_FLOATS = ["tensor(float)", "tensor(float16)"]
_TYPES = {
    "T": _FLOATS,
    "Cache": [*_FLOATS, "tensor(int8)"],
    "F": ["tensor(float)"],
    "U8": ["tensor(uint8)"],
    "I8": ["tensor(int8)"],
    "I32": ["tensor(int32)"],
    "I64": ["tensor(int64)"],
}


class _UnknownShapeError(Exception):
    """An input's shape is not known. In a branch the inference does not see constants of the graph around it."""


class _Node:
    """One node during inference: shapes in, shapes out.

    Args:
        context: Of the ONNX library.
        sources: For each output the input that has the same type; None for an output that nothing reads.
    """

    def __init__(self, context: InferenceContext, sources: list[int | None]) -> None:
        self._context = context
        self._sources = sources

    def __getattr__(self, name: str) -> int:
        return int(self._context.get_attribute(name).i)

    def has(self, index: int) -> bool:
        """Whether this input is given."""
        return index < self._context.get_num_inputs() and self._context.has_input(index)

    def shape(self, index: int, rank: int | None = None) -> tuple[Dim, ...]:
        """The shape of an input, which must have `rank` axes."""
        kind = self._context.get_input_type(index)
        if kind is None or not kind.tensor_type.HasField("shape"):
            raise _UnknownShapeError
        found = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.tensor_type.shape.dim
        )
        if rank is not None and len(found) != rank:
            self.fail(f"input {index} has {len(found)} axes, it must have {rank}")
        return found

    def check(self, index: int, *wanted: Dim) -> None:
        """Refuse an input whose shape contradicts `wanted`; one that is not given passes."""
        if not self.has(index):
            return
        found = self.shape(index, len(wanted))
        if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(found, wanted, strict=True)):
            self.fail(f"input {index} has shape {list(found)}, it must be {list(wanted)}")

    def give(self, output: int, shape: tuple[Dim, ...] | None) -> None:
        """Set the type of an output, and its shape where that is known."""
        source = self._sources[output]
        kind = None if source is None else self._context.get_input_type(source)
        if kind is not None:  # else a node before it is at fault, which is reported at the end
            self._context.set_output_type(output, helper.make_tensor_type_proto(kind.tensor_type.elem_type, shape))

    def infer(self, rule: Callable[[_Node], None]) -> None:
        """Follow the operator's rule as far as shapes are known."""
        try:
            rule(self)
        except _UnknownShapeError:
            for output in range(self._context.get_num_outputs()):
                self.give(output, None)

    def fail(self, reason: str) -> None:
        """Stop the inference."""
        raise InferenceError(f"node {self._context.get_display_name()}: {reason}")


def _same_shape(node: _Node) -> None:
    node.give(0, node.shape(0))


def _norm(node: _Node) -> None:
    shape = node.shape(0)
    node.check(1, shape[-1])
    node.give(0, shape)


def _skip_norm(node: _Node) -> None:
    shape = node.shape(0, 3)
    node.check(1, *shape)
    node.check(2, shape[-1])
    node.give(0, shape)
    node.give(3, shape)


def _blocks(node: _Node) -> None:
    """Codes [N, blocks, bytes], scales [N, blocks], zero points [N, bytes]."""
    blocks = -(-node.K // node.block_size)
    *others, _ = node.shape(0)
    node.check(0, *others, node.K)
    node.check(1, node.N, blocks, node.block_size * node.bits // 8)
    node.check(2, node.N, blocks)
    node.check(3, node.N, -(-blocks * node.bits // 8))
    node.give(0, (*others, node.N))


def _transposed(node: _Node) -> None:
    """A matrix of floats [N, K]."""
    *others, inputs = node.shape(0)
    outputs, _ = node.shape(1, 2)
    node.check(1, outputs, inputs)
    node.give(0, (*others, outputs))


def _rows(node: _Node) -> None:
    """Codes [K, N] with a scale for each output."""
    *others, inputs = node.shape(0)
    _, outputs = node.shape(1, 2)
    node.check(1, inputs, outputs)
    node.check(2)
    node.check(3, outputs)
    node.check(4)
    node.give(0, (*others, outputs))


def _attention(node: _Node) -> None:
    """Queries, keys and values of one width, as many keys as values; a bias of the three, one by head."""
    shape = batch, length, width = node.shape(0, 3)
    _, attended, _ = node.shape(1, 3)
    node.check(1, batch, None, width)
    node.check(2, batch, attended, width)
    if isinstance(width, int):
        node.check(3, 3 * width)
    node.check(5, 1, node.num_heads, length, attended)
    node.give(0, shape)


def _cached_attention(node: _Node) -> None:
    """Packed queries, keys and values [B, S, (H + 2 H_kv) D] with the cache [B, H_kv, C, D]."""
    batch, length, _ = node.shape(0, 3)
    _, _, capacity, size = cache = node.shape(3, 4)
    if not isinstance(size, int):
        node.fail("the cache's head size is not known")
        return
    node.check(0, batch, length, (node.num_heads + 2 * node.kv_num_heads) * size)
    for past in (3, 4):
        node.check(past, batch, node.kv_num_heads, capacity, size)
    node.check(5, batch)
    node.check(6)
    node.check(8, *node.shape(7, 2))
    node.check(9, batch, length)
    for scales in (12, 13):
        node.check(scales, 1, node.kv_num_heads, 1, size)
    node.give(0, (batch, length, node.num_heads * size))
    for past in (3, 4):
        node.give(past - 2, cache)


def _gather_blocks(node: _Node) -> None:
    """Rows of codes [V, bytes] with scales [V, blocks]."""
    rows, num_bytes = node.shape(0, 2)
    _, blocks = node.shape(2, 2)
    if not (isinstance(num_bytes, int) and isinstance(blocks, int)):
        node.fail("the table's size is not known")
        return
    columns = num_bytes * 8 // node.bits
    node.check(2, rows, columns // node.block_size)
    node.check(3, rows, -(-blocks * node.bits // 8))
    node.give(0, (*node.shape(1), columns))


def _schema(
    name: str,
    infer: Callable[[_Node], None],
    inputs: str,
    outputs: str,
    attributes: str,
    domain: str = MICROSOFT,
) -> OpSchema:
    """A schema from short forms: `A:T B:U8 zero:U8?` for inputs, `N bits k_quant_type=s?` for attributes."""
    taken = [part.partition(":")[2].rstrip("?") for part in inputs.split()]
    given = [part.partition(":")[2].rstrip("?") for part in outputs.split()]
    sources = [taken.index(kind) if kind in taken else None for kind in given]
    made = OpSchema(
        name,
        domain,
        1,
        inputs=[_parameter(part) for part in inputs.split()],
        outputs=[_parameter(part) for part in outputs.split()],
        type_constraints=[(kind, _TYPES[kind], "") for kind in sorted({*taken, *given})],
        attributes=[_attribute(part) for part in attributes.split()],
    )
    made.set_type_and_shape_inference_function(lambda context: _Node(context, sources).infer(infer))
    return made


def _parameter(text: str) -> OpSchema.FormalParameter:
    name, _, kind = text.partition(":")
    options = OpSchema.FormalParameterOption
    option = options.Optional if kind.endswith("?") else options.Single
    return OpSchema.FormalParameter(name, kind.rstrip("?"), param_option=option)


def _attribute(text: str) -> OpSchema.Attribute:
    name, _, kind = text.rstrip("?").partition("=")
    types = {"": OpSchema.AttrType.INT, "f": OpSchema.AttrType.FLOAT, "s": OpSchema.AttrType.STRING}
    return OpSchema.Attribute(name, types[kind], "", required=not text.endswith("?"))


def _schemas() -> tuple[OpSchema, ...]:
    return (
        _schema("SimplifiedLayerNormalization", _norm, "X:T scale:T", "Y:T", "axis epsilon=f stash_type", ""),
        _schema(
            "SkipSimplifiedLayerNormalization", _skip_norm, "input:T skip:T gamma:T",
            "output:T mean:F? inv_std_var:F? sum:T", "epsilon=f",
        ),
        _schema("QuickGelu", _same_shape, "X:T", "Y:T", "alpha=f"),
        _schema("FusedMatMul", _transposed, "A:T B:T", "Y:T", "transB"),
        _schema(
            "MatMulNBits", _blocks, "A:T B:U8 scales:T zero_points:U8?", "Y:T", "K N bits block_size accuracy_level"
        ),
        _schema("MatMulIntegerToFloat", _rows, "A:U8 B:I8 a_scale:F b_scale:F a_zero_point:U8", "Y:F", ""),
        _schema(
            "MultiHeadAttention", _attention,
            "query:T key:T value:T bias:T? key_padding_mask:I32? attention_bias:T?", "output:T", "num_heads",
        ),
        _schema(
            "GroupQueryAttention", _cached_attention,
            "query:T key:T? value:T? past_key:Cache past_value:Cache seqlens_k:I32 total_sequence_length:I32 "
            "cos_cache:T sin_cache:T position_ids:I64? attention_bias:T? head_sink:T? k_scale:F? v_scale:F?",
            "output:T present_key:Cache present_value:Cache",
            "num_heads kv_num_heads do_rotary rotary_interleaved scale=f k_quant_type=s? v_quant_type=s? "
            "kv_cache_bit_width?",
        ),
        _schema(
            "GatherBlockQuantized", _gather_blocks, "data:U8 indices:I64 scales:T zero_points:U8?", "output:T",
            "gather_axis quantize_axis bits block_size",
        ),
    )  # fmt: skip


@contextmanager
def registered() -> Iterator[None]:
    """While the block runs, `onnx` knows these operators; others of the process may have registered them already."""
    own = [made for made in _schemas() if not defs.has(made.name, made.domain)]
    for made in own:
        defs.register_schema(made)
    try:
        yield
    finally:
        for made in own:
            defs.deregister_schema(made.name, made.since_version, made.domain)
