"""The samples of a container: how many bytes of them there are, by its header and by the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgephi.audio.containers.mp3_frames import frames_follow
from edgephi.audio.containers.sizes import Extent, StatedSize, extent, is_placeholder
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.tags import NEXT_FILE, find_next_file, skip_tags


def known_behind(source: Source, start: int) -> int | None:
    """`start`, if from there on nothing stands but tags, zeros or a joined file; None otherwise."""
    behind = skip_tags(source, start)
    is_known = behind == source.size or NEXT_FILE.match(source.read_at(behind, 64)) or frames_follow(source, behind)
    return start if is_known else None


def _all(_: Source, __: int, end: int) -> int:
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples as a header describes them.

    Attributes:
        start: Their first byte.
        size: Bytes of them.
        bytes_per_s: Of audio.
        outer_end: Where the whole ends by its outer size; None where there is none.
        chain_end: Asked about a place in the source: where the container's chunks that begin there end, if they fill
            the file or end at something known; None if other bytes stand there.
        samples_end: Asked about a range of the source: where samples end that may be followed by chunks.
    """

    start: int
    size: int
    bytes_per_s: int
    outer_end: int | None = None
    chain_end: Callable[[Source, int], int | None] = known_behind
    samples_end: Callable[[Source, int, int], int] = _all


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleExtent:
    """Bytes of samples, where the container ends, and what to say of it."""

    length: int
    end: int
    notes: tuple[str, ...]


def measure(source: Source, samples: Samples) -> SampleExtent:
    """How many bytes are samples, held against the chunks behind them and the file's own end.

    Raises:
        TruncatedAudioError: The header promises clearly more than the file holds.
    """
    end, stated_end = source.size, samples.start + samples.size
    behind = _behind(source, samples)
    if behind is not None:
        return SampleExtent(length=samples.size, end=behind, notes=())
    real_end = samples.samples_end(source, samples.start, end)
    if is_placeholder(samples.size) or stated_end <= end:
        joined = find_next_file(source, samples.start, real_end)
        if joined is not None:
            end = joined
            real_end = samples.samples_end(source, samples.start, end)
    found: Extent = extent(
        StatedSize(
            size=samples.size,
            available=end - samples.start,
            sample_bytes_end=real_end - samples.start,
            bytes_per_s=samples.bytes_per_s,
            is_contradicted=samples.outer_end is not None
            and samples.outer_end <= end
            and samples.outer_end < stated_end,
        )
    )
    return SampleExtent(length=found.length, end=end, notes=found.notes)


def _behind(source: Source, samples: Samples) -> int | None:
    """Where the container ends, if the samples end where the header says; None if they do not."""
    stated_end = samples.start + samples.size
    if stated_end >= source.size:
        return source.size if stated_end == source.size else None
    if samples.size and stated_end + 1 == source.size:
        return source.size  # a padding byte, of whatever value
    for start in (stated_end + samples.size % 2, stated_end):
        if samples.size == 0 and source.read_at(start, 1) == b"\0":
            return None  # silence, which `chain_end` would take for padding
        if (end := samples.chain_end(source, start)) is not None:
            return end
    return None
