"""A decoder layer over all sequences of a walk; the walk gives the outputs of its linears."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.layer_walk.layer_math import CausalAttention, gated, rms_norm
from edgephi_quantize.parallel import ordered_map

Floats = NDArray[np.float32]
#: Makes of a linear's name and its inputs, float32 [S, inputs] of each sequence, what gives the outputs of one.
Linear = Callable[[str, list[Floats]], Callable[[int], Floats]]


class LayerPass:
    """One layer.

    Args:
        config: The model.
        source: Its weights; only those of the norms are read.
        layer: Number of the layer, from 0.
        threads: Sequences that are computed at a time.
    """

    def __init__(self, config: ModelConfig, source: WeightSource, layer: int, threads: int) -> None:
        self._config, self._source, self._threads = config, source, threads
        self._prefix = f"layers.{layer}"

    def run(self, hidden: list[Floats], linear: Linear) -> None:
        """Bring the hidden states, float32 [S, H] of each sequence, behind the layer, in their place."""
        count, attention = len(hidden), CausalAttention(self._config.decoder, self._config.rope)

        def outputs(
            name: str, inputs: list[Floats], then: Callable[[Floats], Floats] = lambda rows: rows
        ) -> list[Floats]:
            """Each sequence's outputs are changed by `then` at once, so that one is held."""
            of_one = linear(f"{self._prefix}.{name}", inputs)
            return self._each(lambda index: then(of_one(index)), count)

        attended = outputs("self_attn.qkv_proj", self._normed("input_layernorm", hidden), attention)
        _add(hidden, outputs("self_attn.o_proj", attended))
        normed = self._normed("post_attention_layernorm", hidden)
        del attended
        products = outputs("mlp.gate_up_proj", normed, gated)
        del normed
        _add(hidden, outputs("mlp.down_proj", products))

    def _normed(self, name: str, hidden: list[Floats]) -> list[Floats]:
        weight = self._source.read(f"{self._prefix}.{name}.weight")
        epsilon = self._config.decoder.rms_norm_eps
        return self._each(lambda index: rms_norm(hidden[index], weight, epsilon), len(hidden))

    def _each(self, work: Callable[[int], Floats], count: int) -> list[Floats]:
        with closing(ordered_map(work, range(count), threads=self._threads)) as results:
            return list(results)


def _add(hidden: list[Floats], updates: list[Floats]) -> None:
    for rows, update in zip(hidden, updates, strict=True):
        np.add(rows, update, out=rows)
