"""Estimates for a model: memory while it answers, and bytes that one decode step must read.

    memory = process + tokenizer + weights as ONNX Runtime packs them + work of a forward pass + cache of the context

The constants were measured with ONNX Runtime 1.31 on x86, where the sum was within 5 % of what the full-size models
held; on another processor weights may be packed otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import CacheChoice, Manifest
from edgephi.bundle.tensor_index import Part, StoredTensorInfo
from edgephi.cache.kv_cache import cache_shape
from edgephi.model_options import DEFAULT_CHUNK
from edgephi.ort.packed_sizes import WORK_FLOATS, packed_bytes, tokenizer_bytes
from edgephi.prompt.routing import Mode, Route, available_routes

#: Interpreter, libraries and open sessions of a small model.
_PROCESS_BYTES = 45_000_000
#: Floats of an encoder for each patch of a crop, or row of a window, and each unit of the decoder's hidden size.
_ENCODER_FLOATS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The memory of requests of one mode, and the bytes a decode step reads.

    Attributes:
        mode: Of the requests.
        fixed_bytes: Memory without the cache.
        position_bytes: Memory of each position of the context.
        step_bytes: Weights that every decode step reads, however short the context.
    """

    mode: Mode
    fixed_bytes: int
    position_bytes: int
    step_bytes: int

    def memory_bytes(self, context: int) -> int:
        """Memory with this many positions filled."""
        return self.fixed_bytes + context * self.position_bytes

    def positions_within(self, memory_bytes: int) -> int:
        """The most positions that fit into so much memory; 0 where the weights alone do not."""
        return max(0, memory_bytes - self.fixed_bytes) // self.position_bytes

    def read_bytes(self, context: int) -> int:
        """Bytes that one decode step reads after this many positions."""
        return self.step_bytes + context * self.position_bytes


def memory_estimates(bundle: Bundle, kv_cache: CacheChoice = "float") -> tuple[MemoryEstimate, ...]:
    """One for every mode that the bundle can serve, in the order of `Mode`.

    Raises:
        ArtifactError: `tensors.json` is damaged.
        ConfigError: The folder has no graphs for `kv_cache`.
    """
    manifest, tensors = bundle.manifest, bundle.tensor_index().tensors
    process = _PROCESS_BYTES + tokenizer_bytes(manifest)
    return tuple(
        MemoryEstimate(
            mode=route.mode,
            fixed_bytes=process + _work_bytes(manifest, route) + _packed(tensors, _resident(manifest, route)),
            position_bytes=cache_shape(manifest, kind=kv_cache).bytes_per_position,
            step_bytes=_packed(tensors, _read(manifest, route)),
        )
        for route in available_routes(manifest)
    )


def prefill_bytes(bundle: Bundle) -> int:
    """Bytes of mapped files that long prompts read through the graph for prefill; 0 without it.

    They are no part of the estimates: the system may drop their pages.

    Raises:
        ArtifactError: `tensors.json` is damaged.
    """
    return sum(tensor.num_bytes for tensor in bundle.tensor_index().tensors if tensor.part.startswith("prefill"))


def _resident(manifest: Manifest, route: Route) -> set[Part]:
    """Parts in memory: the graph with adapters holds all of them, whichever serves."""
    parts: set[Part] = {"decoder"}
    if route.adapter != "none" and manifest.adapters.mode == "routed":
        parts |= {"adapter_vision", "adapter_speech"}
    if route.has_images:
        parts.add("vision")
    if route.has_audio:
        parts.add("speech")
    return parts


def _work_bytes(manifest: Manifest, route: Route) -> int:
    """Bytes that the graphs take besides weights and cache while they run; sessions keep them for the next run."""
    floats = WORK_FLOATS * DEFAULT_CHUNK
    if route.has_images and manifest.vision is not None:
        floats += _ENCODER_FLOATS * manifest.vision.patches_per_side**2
    if route.has_audio and manifest.speech is not None:
        floats += _ENCODER_FLOATS * manifest.speech.window_rows
    return floats * manifest.decoder.hidden_size * 4


def _read(manifest: Manifest, route: Route) -> set[Part]:
    """Parts that a decode step reads."""
    parts: set[Part] = {"decoder"}
    if manifest.adapters.mode == "routed" and route.adapter != "none":
        parts.add("adapter_vision" if route.adapter == "vision" else "adapter_speech")
    return parts


def _packed(tensors: Iterable[StoredTensorInfo], parts: set[Part]) -> int:
    return sum(packed_bytes(tensor) for tensor in tensors if tensor.part in parts)
