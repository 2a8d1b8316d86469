"""What the readings of an utterance have given so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgephi.transcription.live.settling import SettledText
from edgephi.transcription.live.utterances import Utterance
from edgephi.transcription.transcript import Segment


@dataclass(slots=True)
class Reading:
    """The readings of one utterance so far.

    Attributes:
        number: Of the utterance.
        start_s: Of its speech.
        read: What the last was of.
        segment: The last, if it was completed.
        last: The text of the last that was completed.
        text: What they agree on.
        cost_s: What the last took.
    """

    number: int
    start_s: float
    read: Utterance | None = None
    segment: Segment | None = None
    last: str = ""
    text: SettledText = field(default_factory=SettledText)
    cost_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Of the speech in the last; of none, its start."""
        return self.start_s if self.read is None else self.read.window.end_s

    def has_read(self, utterance: Utterance) -> bool:
        """Whether the last was of exactly this audio."""
        return self.read is not None and self.read.has_audio_of(utterance)
