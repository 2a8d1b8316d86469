"""What a model folder takes of each GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgephi.base.units import human_bytes
from edgephi.bundle.bundle import Bundle
from edgephi.cache.kv_cache import cache_shape
from edgephi.ort.vulkan import GpuFacts


def gpu_needs(bundle: Bundle, context: int, gpus: Iterable[GpuFacts]) -> Iterator[str]:
    """A line for each GPU: what the weights and the keys and values of `context` tokens take of its memory.

    Raises:
        ConfigError: Never for a folder that was opened; see `cache_shape`.
    """
    shape = cache_shape(bundle.manifest)
    weights = sum(
        info.bytes
        for info in bundle.manifest.files
        if info.path.startswith("weights/") and not info.path.startswith("weights/prefill")
    )
    needed = weights + context * shape.bytes_per_position
    for gpu in gpus:
        line = f"{gpu.name}: this folder with {context:,} tokens takes {human_bytes(needed, 2)} of its "
        line += human_bytes(gpu.memory_bytes, 2)
        if needed > gpu.memory_bytes:
            line += ", which is too much"
        if bundle.manifest.decoder.dtype == "float16" and not gpu.has_float16:
            line += "; it has no float16, which the folder computes with: export with --recipe int4-gpu-fp32"
        yield line
