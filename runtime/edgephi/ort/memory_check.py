"""Whether a folder's graphs fit into the memory that is left, and what would fit instead: asked before each is read."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Iterator

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.free_memory import IGNORE_VARIABLE, Headroom, give_back_freed, headroom, is_ignored
from edgephi.base.units import human_bytes
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import AdapterMode, Manifest
from edgephi.bundle.tensor_index import Part, graph_parts
from edgephi.ort.packed_sizes import is_quantized, packed_bytes, tokenizer_bytes

#: Of the stored bytes, what is in memory for certain: packed weights were larger wherever they were measured.
_LEAST_SHARE = 0.95
#: Processors on which quantized weights were measured to take what packed_sizes.py says, or some 0.3 % more.
_MEASURED = ("x86_64", "AMD64")
#: Floats that a pass holds for each position and unit of the hidden size: half of what packed_sizes.py counts.
_LEAST_WORK_FLOATS = 22
#: Not worth asking the system for its free memory.
_SMALL_BYTES = 64 << 20
#: `int4-fast` as it is packed, its head included.
_FEWEST_BITS = 4.375
_LEAST_CHUNK = 16


def check_graph_fits(
    bundle: Bundle, graph: str, *, chunk: int = 0, ignore: bool = False, with_vocabulary: bool = False
) -> None:
    """Refuse a graph whose weights this machine has no memory for: the system would end the process midway.

    What is counted is the least that must be there, so that nothing is refused that would run.

    Args:
        bundle: The model folder.
        graph: One of its graphs.
        chunk: Positions that the decoder reads at once; 0 for an encoder.
        ignore: Do not ask.
        with_vocabulary: The vocabulary is read at the same time.

    Raises:
        CapacityError: It does not fit. The message says what would.
    """
    parts = graph_parts(bundle.manifest, graph)
    weights = weight_bytes(bundle, graph)
    if with_vocabulary:
        weights += tokenizer_bytes(bundle.manifest)
    needed = weights + work_bytes(bundle.manifest, chunk)
    if needed < _SMALL_BYTES or ignore or is_ignored():
        return
    if headroom().missing(needed) is None:
        return
    give_back_freed()
    room = headroom()
    if short := room.missing(needed):
        advice = ", or ".join(_levers(bundle, parts, room, weights, chunk)) or "use a machine with more memory"
        raise CapacityError(
            f"{bundle.file(graph)}: takes at least {human_bytes(needed, 2)} of memory but {short}; {advice} "
            f"(--ignore-memory, or {IGNORE_VARIABLE}=1, tries all the same)"
        )


def weight_bytes(bundle: Bundle, graph: str) -> int:
    """Memory of a graph's weights once they are packed, at least."""
    least = _least_bytes(bundle, graph_parts(bundle.manifest, graph))
    # A folder that was replaced is copied while it is loaded (see session.py).
    return least if bundle.files.are_in_place else 2 * least


def work_bytes(manifest: Manifest, chunk: int) -> int:
    """Memory of a pass of the decoder over so many positions, at least."""
    return _LEAST_WORK_FLOATS * chunk * manifest.decoder.hidden_size * 4


def _least_bytes(bundle: Bundle, parts: tuple[Part, ...]) -> int:
    """Memory of the weights once they are packed, at least."""
    stored = _stored_bytes(bundle, parts)
    if platform.machine() not in _MEASURED:
        return stored
    try:
        tensors = bundle.tensor_index().tensors
    except EdgeError:  # the folder's own fault is reported elsewhere
        return stored
    sizes = (packed_bytes(t) if is_quantized(t) else _LEAST_SHARE * t.num_bytes for t in tensors if t.part in parts)
    return max(stored, int(sum(sizes)))


def _stored_bytes(bundle: Bundle, parts: Iterable[Part]) -> int:
    names = {f"weights/{part}.bin" for part in parts}
    return int(_LEAST_SHARE * sum(info.bytes for info in bundle.manifest.files if info.path in names))


def _levers(bundle: Bundle, parts: tuple[Part, ...], room: Headroom, weights: int, chunk: int) -> Iterator[str]:
    """The choices that would fit, each with what it takes."""
    work, manifest = work_bytes(bundle.manifest, chunk), bundle.manifest

    def fits(count: int) -> bool:
        return room.missing(count) is None

    smaller = chunk // 2
    while smaller >= _LEAST_CHUNK and not fits(weights + work_bytes(manifest, smaller)):
        smaller //= 2
    if smaller >= _LEAST_CHUNK:
        yield f"use --chunk {smaller}"
    alone = _least_bytes(bundle, ("decoder",))
    if len(parts) > 1 and fits(alone + work):
        if manifest.decoder.text_graph is not None:
            yield f"ask for text alone, which takes {human_bytes(alone + work, 2)}"
        kinds: list[AdapterMode] = [info.name for info in manifest.adapters.available]
        merged = " or ".join(f"--adapters {kind}" for kind in kinds)
        yield f"export for one purpose with {merged}, the decoder then takes {human_bytes(alone + work, 2)}"
    fewest = _fewest_bytes(bundle, parts)
    if fewest < 0.9 * weights and fits(fewest + work):
        yield f"export with --recipe int4-fast, about {human_bytes(fewest + work, 2)}"
    if weights + work <= room.memory.usable_bytes and room.address_bytes is None:
        yield "close other programs"


def _fewest_bytes(bundle: Bundle, parts: Iterable[Part]) -> int:
    """Bytes of the decoder's linears by the smallest recipe; other parts stay as they are."""
    if "decoder" not in parts:
        return _stored_bytes(bundle, parts)
    try:
        tensors = bundle.tensor_index().tensors
    except EdgeError:  # the folder's own fault is reported elsewhere
        return _stored_bytes(bundle, parts)
    count = sum(math.prod(t.shape) for t in tensors if t.part == "decoder" and len(t.shape) > 1)
    return round(count * _FEWEST_BITS / 8) + _stored_bytes(bundle, [part for part in parts if part != "decoder"])
