"""Segments as subtitles: a few seconds and two lines each, cut where sentences, clauses or pauses end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgephi.transcription.columns import Atom, atoms, joined, num_columns
from edgephi.transcription.speech_time import SpeechTime
from edgephi.transcription.transcript import Segment, spoken

MOST_S = 7.0
MOST_COLUMNS = 42
_MOST_LINES = 2
_LEAST_COLUMNS = 16
_LEAST_S = 1.0
#: Of a break: behind a sentence, at a comma, between words; and of a cue too short to be read.
_SENTENCE, _CLAUSE, _WORD, _SHORT, _CUE = 0.0, 0.6, 1.5, 1.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A subtitle.

    Attributes:
        start_s: Whole milliseconds.
        end_s: Whole milliseconds, after the start.
        lines: One or two, none empty.
        channel: As the segment's.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    channel: int | None


def cut_cues(segment: Segment, most_s: float = MOST_S, label: str = "") -> list[Cue]:
    """The segment's cues in order; none without words.

    Args:
        segment: One window's.
        most_s: Longest cue.
        label: Stands before the text of each cue, such as a speaker's name.
    """
    limit = max(MOST_COLUMNS - num_columns(label), MOST_COLUMNS // 2)
    parts = atoms(spoken(segment), limit)
    cutting = _Cutting(parts, SpeechTime.of(segment), most_s, limit)
    pieces = list(cutting.pieces()) if parts else []
    if pieces and (segment.end_s - segment.start_s) * 1000 < 2 * len(pieces):  # no time at all for so much text
        pieces = [(segment.start_s, segment.end_s, parts)]
    cues: list[Cue] = []
    for start_s, end_s, piece in pieces:
        start_ms = max(round(start_s * 1000), round(cues[-1].end_s * 1000) if cues else 0)
        end_ms = max(min(round(end_s * 1000), start_ms + int(most_s * 1000)), start_ms + 1)
        first, *others = _lines(piece, limit)
        lines = (label + first, *others)
        cues.append(Cue(start_s=start_ms / 1000, end_s=end_ms / 1000, lines=lines, channel=segment.channel))
    return cues


def shorter(segment: Segment, most_s: float) -> list[Segment]:
    """The segment, cut where it is longer than `most_s` and has words enough."""
    if segment.is_gap or segment.end_s - segment.start_s <= most_s:
        return [segment]
    parts = atoms(spoken(segment), MOST_COLUMNS)
    pieces = _Cutting(parts, SpeechTime.of(segment), most_s, None).pieces() if parts else []
    made = [replace(segment, start_s=start, end_s=end, text=joined(piece), speech=()) for start, end, piece in pieces]
    return made or [segment]


class _Cutting:
    """Finds the cheapest way to cut a text, over all ways.

    Args:
        parts: The text.
        time: When it is said.
        most_s: Longest piece.
        limit: Columns of a line, two lines a piece; None for pieces of any width.
    """

    def __init__(self, parts: list[Atom], time: SpeechTime, most_s: float, limit: int | None) -> None:
        self._parts, self._time, self._most_s, self._limit = parts, time, most_s, limit
        widths = [part.columns + len(part.glue) for part in parts]
        self._before = [0, *itertools.accumulate(widths)]
        self._total = max(self._before[-1], 1)

    def pieces(self) -> Iterator[tuple[float, float, list[Atom]]]:
        """Start, end and text of each, in order."""
        places = self._places()
        moments = self._time.moments([self._before[place] / self._total for place in places], self._most_s)
        for (first, last), (start, end) in zip(itertools.pairwise(places), moments, strict=True):
            yield start, end, self._parts[first:last]

    def _places(self) -> list[int]:
        """Before which parts to cut, the first and the one after the last included."""
        count = len(self._parts)
        cost, came_from = [0.0] + [math.inf] * count, [0] * (count + 1)
        for first in range(count):
            for last in range(first + 1, count + 1):
                if last > first + 1 and not self._fits(first, last):
                    break
                price = cost[first] + self._price(first, last)
                if price < cost[last]:
                    cost[last], came_from[last] = price, first
        places = [count]
        while places[-1] > 0:
            places.append(came_from[places[-1]])
        return places[::-1]

    def _fits(self, first: int, last: int) -> bool:
        if self._seconds(first, last) > self._most_s:
            return False
        return self._limit is None or _num_lines(self._parts[first:last], self._limit) <= _MOST_LINES

    def _seconds(self, first: int, last: int) -> float:
        return self._time.between(self._before[first] / self._total, self._before[last] / self._total)

    def _price(self, first: int, last: int) -> float:
        is_whole = first == 0 and last == len(self._parts)
        columns, seconds = self._before[last] - self._before[first], self._seconds(first, last)
        short = 0.0 if is_whole else _SHORT * ((columns < _LEAST_COLUMNS) + (seconds < _LEAST_S))
        return _CUE + short + (0.0 if last == len(self._parts) else _break_price(self._parts[last - 1]))


def _break_price(part: Atom) -> float:
    return _SENTENCE if part.ends_sentence else _CLAUSE if part.ends_clause else _WORD


def _num_lines(parts: list[Atom], limit: int) -> int:
    count, used = 1, 0
    for part in parts:
        wider = used + part.columns + (len(part.glue) if used else 0)
        count, used = (count, wider) if wider <= limit or not used else (count + 1, part.columns)
    return count


def _lines(parts: list[Atom], limit: int) -> list[str]:
    """One line, or two of about the same length, or as many as it takes."""
    whole = joined(parts)
    if num_columns(whole) <= limit:
        return [whole]
    best: tuple[float, list[str]] | None = None
    for place in range(1, len(parts)):
        lines = [joined(parts[:place]), joined(parts[place:])]
        widths = [num_columns(line) for line in lines]
        price = abs(widths[0] - widths[1]) / 10 + _break_price(parts[place - 1])
        if max(widths) <= limit and (best is None or price < best[0]):
            best = price, lines
    return best[1] if best else _filled(parts, limit)


def _filled(parts: list[Atom], limit: int) -> list[str]:
    lines: list[list[Atom]] = [[]]
    for part in parts:
        if lines[-1] and _num_lines([*lines[-1], part], limit) > 1:
            lines.append([])
        lines[-1].append(part)
    return [joined(line) for line in lines]
