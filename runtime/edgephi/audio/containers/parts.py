"""The parts of a file that are to be decoded, and remarks for the user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.containers.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream of one rate and channel count.

    Attributes:
        view: A file that the decoder reads whole; its header states the true length.
        decoder: Who decodes it.
        what: Container and codec, for messages.
        least_samples: Of each channel. Fewer than these decoded means that the file is truncated. None: as the
            decoder says after it has read the header.
    """

    view: View
    what: str
    decoder: str = "libsndfile"
    least_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A part being decoded.

    Attributes:
        sample_rate_hz: As it was recorded.
        num_channels: As it was recorded.
        num_samples: Of each channel, as the header has it.
        blocks: float32 [n, num_channels], full scale 1.0.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int
    blocks: Iterator[NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The content of one file among possibly several joined ones.

    Attributes:
        parts: In order; several where its streams change.
        end: Where it ends in the source: what follows does not belong to it.
        notes: What is unusual of it, a clause each, without the file's name.
    """

    parts: tuple[Part, ...]
    end: int
    notes: tuple[str, ...] = ()


class DamagedAudioError(Exception):
    """A container that cannot be read: a clause that says why. Caught where the file's name is known."""


class TruncatedAudioError(DamagedAudioError):
    """Its header promises clearly more than the file holds."""


class UnsupportedAudioError(Exception):
    """A container or codec that the base installation cannot read: its name, such as `MP4 with AAC audio`."""
