"""Sun's and NeXT's AU."""

from __future__ import annotations

import struct

from edgephi.audio.containers.parts import DamagedAudioError, Part, Walk
from edgephi.audio.containers.pcm import Samples, measure
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.view import View, span

_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # by encoding


def walk(source: Source, start: int) -> Walk:
    """The samples of an AU file that begins there.

    Raises:
        DamagedAudioError: Its header is incomplete, or it is truncated.
    """
    head = source.read_at(start, 24)
    if len(head) < 24:
        raise DamagedAudioError("AU without a whole header")
    mark = ">" if head[:4] == b".snd" else "<"
    offset, size, encoding, rate, channels = struct.unpack(f"{mark}5I", head[4:])
    if start + offset > source.size or offset < 24:
        raise DamagedAudioError("AU without samples")
    samples = Samples(
        start=start + offset,
        size=size,
        bytes_per_s=max(1, min(rate * channels * _VALUE_BYTES.get(encoding, 1), 1 << 26)),
    )
    found = measure(source, samples)
    end = samples.start + found.length
    header = head[:4] + struct.pack(f"{mark}5I", 24, min(found.length, 0xFFFFFFFF), encoding, rate, channels)
    view = View([header, span(source, samples.start, end)])
    return Walk(parts=(Part(view=view, what="AU"),), end=found.end, notes=found.notes)
