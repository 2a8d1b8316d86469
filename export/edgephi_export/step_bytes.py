"""What a decoding step reads of the decoder's matrices, by their formats."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgephi.ort.packed_sizes import packed_bytes
from edgephi_export.checkpoint.config import ADAPTED_LINEARS, DecoderConfig
from edgephi_export.checkpoint.lazy_tensor import solved_tensor
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.formats import Format
from edgephi_quantize.recipe import HEAD, Recipe, Rule


class StepBytes:
    """The decoder of one plan.

    Args:
        config: The decoder.
        weights: Every tensor's place.

    Attributes:
        matrices: Names of the linears and of the head.
        total: Bytes that a step without an adapter reads, a correction counted.
    """

    def __init__(self, config: DecoderConfig, weights: WeightPlan) -> None:
        layers = range(config.num_layers)
        self.matrices = (HEAD, *(f"layers.{layer}.{kind}" for layer in layers for kind in ADAPTED_LINEARS))
        self._recipe = weights.recipe
        infos = [one.info for held in weights.files.values() for one in held if one.info.part == "decoder"]
        self._shapes = {info.name: info.shape for info in infos}
        self.total = sum(map(packed_bytes, infos))

    def of(self, linears: Iterable[str], format_: Format | None = None) -> int:
        """Bytes of these matrices, in this format or as the plan has them."""
        return sum(self._bytes(name, format_ or self._recipe.format_of(name)) for name in linears)

    def num_weights(self, linears: Iterable[str]) -> int:
        """Weights of these matrices."""
        return sum(math.prod(self._shapes[name]) for name in linears)

    def _bytes(self, name: str, format_: Format) -> int:
        recipe = Recipe(name="one", activations="float32", rules=(Rule("*", format_),), method=self._recipe.method)
        return packed_bytes(WeightPlan(recipe).place_linear("decoder", solved_tensor(name, self._shapes[name])))
