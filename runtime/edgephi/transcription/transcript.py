"""The words of one recording and when they were spoken: its segments, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """Speech without a pause, in seconds from the recording's start."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The text of one window.

    Attributes:
        start_s: When its speech begins, from the recording's start.
        end_s: When its speech ends.
        text: What was said, without spaces at its ends; empty for a gap, and where the model found no words.
        confidence: Geometric mean of the tokens' probabilities, 0 to 1; None without tokens and for a gap.
        is_gap: The model kept repeating itself here, so its text was thrown away.
        channel: Whose it is, from 1, where each channel was transcribed on its own; None otherwise.
        speech: Where somebody speaks in it, without the pauses; empty when that is not known.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float | None
    is_gap: bool = False
    channel: int | None = None
    speech: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One recording's outcome.

    Attributes:
        file: As it was named.
        segments: In order.
        duration_s: Of the recording, as its header has it; 0.0 when it could not be opened.
        elapsed_s: Wall clock spent on it.
        error: Why it could not be read to its end; None when it could.
        is_complete: Whether the segments cover all of it.
        language: Of what was said, as it was named; None when it was not.
        notes: What should be known of the file though it was read whole, a line each.
    """

    file: str
    segments: tuple[Segment, ...]
    duration_s: float
    elapsed_s: float
    error: str | None
    is_complete: bool
    language: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All segments' texts, `[...]` where a gap is, separated by spaces."""
        return " ".join(filter(None, map(spoken, self.segments)))

    @property
    def real_time_factor(self) -> float:
        """Wall clock over the length of what is written down: below 1.0 is faster than it was spoken."""
        covered_s = self.duration_s if self.is_complete else self.reached_s
        return self.elapsed_s / covered_s if covered_s > 0 else 0.0

    @property
    def reached_s(self) -> float:
        """Up to where it is written down."""
        return max((segment.end_s for segment in self.segments), default=0.0)


GAP = "[...]"


def spoken(segment: Segment) -> str:
    """The segment's text on one line; `[...]` for a gap."""
    return GAP if segment.is_gap else " ".join(segment.text.split())
