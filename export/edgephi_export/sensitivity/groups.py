"""The groups of tensors that a budget is spread over: a kind of linear in a few layers that follow each other, and the
head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgephi_export.checkpoint.config import ADAPTED_LINEARS, DecoderConfig
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.recipe import HEAD, Recipe, Rule

#: From the fewest bytes to the most.
FORMATS = tuple(
    BlockFormat(bits=bits, block_size=size) for bits, size in ((2, 128), (4, 256), (4, 128), (4, 64), (4, 32), (8, 128))
)
#: Groups that the layers are cut into: each is measured by runs of the whole model behind it.
_MOST_BANDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorGroup:
    """Tensors that get one format.

    Attributes:
        name: Such as `layers.0-3.mlp.down_proj`.
        linears: Their names; the head alone, or one of each of some layers.
        first_layer: The first of these; 0 for the head, whose rows are the decoder's input as well.
        formats: What is tried.
    """

    name: str
    linears: tuple[str, ...]
    first_layer: int
    formats: tuple[BlockFormat, ...]


def tensor_groups(config: DecoderConfig, recipe: Recipe, fixed: Sequence[Rule]) -> tuple[TensorGroup, ...]:
    """Every group, in the order of their first layers, the head first.

    Args:
        config: The decoder.
        recipe: Its method and what it solves anew say whether 2 bits are tried.
        fixed: Rules of the user's own: what they match is in no group.
    """
    is_solved = recipe.method == "gptq" or recipe.absorbed or recipe.correction_rank > 0
    formats = tuple(one for one in FORMATS if is_solved or one.bits > 2)
    head = TensorGroup(name=HEAD, linears=(HEAD,), first_layer=0, formats=tuple(one for one in formats if one.bits > 2))
    found = [head]
    size = -(-config.num_layers // _MOST_BANDS)
    for first in range(0, config.num_layers, size):
        layers = range(first, min(first + size, config.num_layers))
        span = f"{first}" if len(layers) == 1 else f"{first}-{layers[-1]}"
        found += [
            TensorGroup(
                name=f"layers.{span}.{kind}",
                linears=tuple(f"layers.{layer}.{kind}" for layer in layers),
                first_layer=first,
                formats=formats,
            )
            for kind in ADAPTED_LINEARS
        ]
    return tuple(kept for group in found if (kept := _without(group, fixed)).linears)


def _without(group: TensorGroup, fixed: Sequence[Rule]) -> TensorGroup:
    linears = tuple(name for name in group.linears if not any(rule.matches(name) for rule in fixed))
    return TensorGroup(name=group.name, linears=linears, first_layer=group.first_layer, formats=group.formats)
