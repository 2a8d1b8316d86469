"""Audio as the speech encoder takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.log_mel import duration_s
from edgephi.sources.media_content import MediaContent
from edgephi.sources.source import AudioSource


@dataclass(frozen=True, slots=True)
class AudioFeatures:
    """Log-mel features of one audio input, float32 [T, 80], and how many decoder rows it becomes."""

    mel: NDArray[np.float32]
    num_rows: int

    @property
    def duration_s(self) -> float:
        """Length of the recording, to a hundredth of a second."""
        return duration_s(len(self.mel))

    @property
    def content(self) -> MediaContent:
        """The arrays that the encoder gets, under the names that saved prefixes hold."""
        return MediaContent(kind="HeardClip", arrays=((".mel", self.mel),), numbers=((".num_rows", self.num_rows),))


#: Audio of a request: a source, or the features that were computed from one before.
AudioInput: TypeAlias = "AudioSource | AudioFeatures"
