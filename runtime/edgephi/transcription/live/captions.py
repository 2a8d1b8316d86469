"""The results of live transcription."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.base.errors import EdgeError
from edgephi.transcription.transcript import Segment, spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialCaption:
    """An utterance that still goes on.

    Attributes:
        number: Of the utterance, from 0.
        start_s: When it began.
        settled: Words that no later partial caption of it takes back.
        added: Those of them that the partial caption before did not have, with the space before them.
        tail: Words behind them that may still change, with the space before them.
        lag_s: Audio that has come since the audio of these words.
    """

    number: int
    start_s: float
    settled: str
    added: str
    tail: str
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCaption:
    """An utterance that has ended. It counts, also where it differs from what was settled before.

    Attributes:
        number: Of the utterance, from 0.
        segments: One, or several where the model lost its place at first; as of a recording.
        lag_s: Audio that has come since its last word.
    """

    number: int
    segments: tuple[Segment, ...]
    lag_s: float

    @property
    def text(self) -> str:
        """All of it on one line, `[...]` for a gap; empty where the model found no words."""
        return " ".join(filter(None, map(spoken, self.segments)))

    @property
    def start_s(self) -> float:
        """When its speech began."""
        return self.segments[0].start_s

    @property
    def end_s(self) -> float:
        """When its speech ended."""
        return self.segments[-1].end_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCaption:
    """An utterance without a text.

    Attributes:
        number: Of the utterance, from 0.
        start_s: When its speech began.
        end_s: When its speech ended.
        error: Why the model gave none; None where it was not asked, because the machine was too far behind.
    """

    number: int
    start_s: float
    end_s: float
    error: EdgeError | None = None


Caption = PartialCaption | FinalCaption | LostCaption
