"""When a part of a segment's text is said: as far into its speech as into its text, pauses left out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

from edgephi.transcription.transcript import Segment, Stretch

_SNAP_S = 0.4  # a cut this near to a pause is made in it
_LEAST_S = 0.3


@dataclass(frozen=True, slots=True)
class SpeechTime:
    """The stretches of speech in a segment, in order; the first starts and the last ends with it."""

    stretches: tuple[Stretch, ...]

    @classmethod
    def of(cls, segment: Segment) -> Self:
        """Of a segment; one that knows of no pauses is taken for a single stretch."""
        inner = [
            Stretch(max(stretch.start_s, segment.start_s), min(stretch.end_s, segment.end_s))
            for stretch in segment.speech
        ]
        known = [stretch for stretch in inner if stretch.end_s > stretch.start_s]
        whole = Stretch(segment.start_s, segment.end_s)
        if not known:
            return cls((whole,))
        if len(known) == 1:
            return cls((whole,))
        first, *middle, last = known
        return cls((Stretch(whole.start_s, first.end_s), *middle, Stretch(last.start_s, whole.end_s)))

    def between(self, first: float, last: float) -> float:
        """Seconds from one share of the text to another, pauses between them included."""
        spoken = self._spoken()
        return self._end(last * spoken) - self._start(first * spoken)

    def moments(self, shares: list[float], most_s: float) -> list[tuple[float, float]]:
        """Start and end of what is between each two of these shares, which begin with 0 and end with 1.

        Cuts are moved into pauses nearby, where nothing becomes longer than `most_s` by it.
        """
        spoken = self._spoken()
        places = [share * spoken for share in shares]
        for index in range(1, len(places) - 1):
            before, old, after = places[index - 1 : index + 2]
            near = min(self._pauses(), key=lambda pause: abs(pause - old), default=old)
            fits = before + _LEAST_S <= near <= after - _LEAST_S and abs(near - old) <= _SNAP_S
            lengths = (self._end(near) - self._start(before), self._end(after) - self._start(near))
            if fits and max(lengths) <= most_s:
                places[index] = near
        return [(self._start(first), self._end(last)) for first, last in itertools.pairwise(places)]

    def _spoken(self) -> float:
        return sum(stretch.end_s - stretch.start_s for stretch in self.stretches)

    def _pauses(self) -> list[float]:
        """Spoken seconds before each pause."""
        return list(itertools.accumulate(stretch.end_s - stretch.start_s for stretch in self.stretches[:-1]))

    def _start(self, place: float) -> float:
        """When speech goes on after so many spoken seconds."""
        return self._moment(place, is_end=False)

    def _end(self, place: float) -> float:
        """When so many seconds have been spoken."""
        return self._moment(place, is_end=True)

    def _moment(self, place: float, *, is_end: bool) -> float:
        for stretch in self.stretches[:-1]:
            length = stretch.end_s - stretch.start_s
            if place < length or (is_end and place <= length + 1e-9):
                return stretch.start_s + min(place, length)
            place = max(place - length, 0.0)
        last = self.stretches[-1]
        return min(last.start_s + place, last.end_s)
