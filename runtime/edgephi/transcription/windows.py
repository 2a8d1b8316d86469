"""Cuts a recording into windows, each of which the model is given at once.

It cuts at every clear pause, at the best pause when a window is full, at the quietest place when there is none.

    frame: 32 ms        span: frames of speech without a gap of 0.2 s        window: spans with short gaps
    Times come from the spans, so they are as true as the detector, and silence costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_finite
from edgephi.transcription.speech import FRAME_S, Frame

MOST_WINDOW_S = 30.0
LEAST_WINDOW_S = 2.0
LEAST_PAUSE_S = 0.3
STARTS_AT, _GOES_ON_AT = 0.5, 0.35  # probabilities: it takes less to go on speaking than to start
_JOIN_FRAMES = 6  # a shorter gap is a stop consonant or a breath, not a pause
_LEAST_SPAN_FRAMES = 6  # shorter ones are clicks
_MARGIN_FRAMES = 12  # most silence kept on either side: words must not lose their edges
_SMOOTHED_FRAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRules:
    """Where to cut.

    Attributes:
        window_s: Longest window, 2 to 30: more than the model was trained to write down at once.
        pause_s: A pause this long always ends a window. At least 0.3.
    """

    window_s: float = 30.0
    pause_s: float = 0.6

    def __post_init__(self) -> None:
        if not is_finite(self.window_s) or not LEAST_WINDOW_S <= self.window_s <= MOST_WINDOW_S:
            raise ConfigError(f"window_s is {self.window_s!r}; use {LEAST_WINDOW_S:g} to {MOST_WINDOW_S:g} seconds")
        if not is_finite(self.pause_s) or self.pause_s < LEAST_PAUSE_S:
            raise ConfigError(f"pause_s is {self.pause_s!r}; use {LEAST_PAUSE_S:g} seconds or more")

    @property
    def margin_s(self) -> float:
        """Most silence that a window has before its speech and behind it."""
        return _margin(round(self.pause_s / FRAME_S)) * FRAME_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """A stretch of the recording with speech in it.

    Attributes:
        frames: Its audio, a little silence at its ends included.
        first: Number of its first frame in the recording.
        speech: First frame of its speech, and the one after its last.
        spans: The same of each stretch without a pause.
    """

    frames: tuple[Frame, ...]
    first: int
    speech: tuple[int, int]
    spans: tuple[tuple[int, int], ...]

    @property
    def samples(self) -> NDArray[np.float32]:
        """float32 [n], a new array; of a quiet recording raised, all by the same factor."""
        samples = np.concatenate([frame.samples for frame in self.frames])
        gain = self.frames[0].gain
        return samples if gain == 1.0 else np.clip(samples * np.float32(gain), -1.0, 1.0)

    @property
    def start_s(self) -> float:
        """When its speech begins."""
        return self.speech[0] * FRAME_S

    @property
    def end_s(self) -> float:
        """When its speech ends."""
        return self.speech[1] * FRAME_S

    def halves(self) -> list[Window]:
        """The same speech in shorter windows, none longer than half; none at all when it is too short to cut."""
        most = len(self.frames) // 2
        if most * FRAME_S < LEAST_WINDOW_S / 2:
            return []
        return list(_cut(self.frames, WindowCutter(most, round(LEAST_PAUSE_S / FRAME_S), self.first)))


def cut_windows(frames: Iterable[Frame], rules: WindowRules) -> Iterator[Window]:
    """Windows in order; holds no more than one window's frames."""
    yield from _cut(frames, WindowCutter.of(rules))


def _cut(frames: Iterable[Frame], cutter: WindowCutter) -> Iterator[Window]:
    for frame in frames:
        if window := cutter.push(frame):
            yield window
    if window := cutter.end():
        yield window


@dataclass(frozen=True, slots=True)
class _Span:
    """Speech from frame `start` to before `end`; it began at `born`, before a cut if that is another frame."""

    born: int
    start: int
    end: int

    @property
    def is_speech(self) -> bool:
        return self.end - self.born >= _LEAST_SPAN_FRAMES


def _margin(pause: int) -> int:
    """Frames of silence kept on either side of speech that ends at a pause of so many."""
    return min(_MARGIN_FRAMES, pause // 2)


class WindowCutter:
    """The frames since the last cut, and the spans of speech among them. Numbers count from the recording's start.

    Args:
        most: Frames of the longest window.
        pause: Frames without speech that end a window.
        first: Number of the first frame.
    """

    def __init__(self, most: int, pause: int, first: int) -> None:
        self._most = most
        self._pause = pause
        self._margin = _margin(pause)
        self._first = first
        self._frames: list[Frame] = []
        self._spans: list[_Span] = []

    @classmethod
    def of(cls, rules: WindowRules) -> Self:
        """For a recording from its beginning."""
        return cls(int(rules.window_s / FRAME_S), round(rules.pause_s / FRAME_S), 0)

    @property
    def is_silent(self) -> bool:
        """Whether nothing since the last cut may be speech."""
        return not self._spans

    def push(self, frame: Frame) -> Window | None:
        """Add a frame; the window that it ends."""
        self._add(frame)
        place = self._place()
        return None if place is None else self._take(place)

    def end(self) -> Window | None:
        """The window that ends here, because the recording does or because somebody says so; None without speech."""
        return self._take(self._end)

    def open(self) -> Window | None:
        """What would be the window if it ended here, which changes nothing; None without speech."""
        return self._window(self._end)

    def ending(self) -> Window | None:
        """What will be the window if the silence goes on; None until it has all the silence that it will hold."""
        if not self._spans or self._end - self._spans[-1].end < self._margin:
            return None
        return self._window(self._spans[-1].end + self._margin)

    @property
    def _end(self) -> int:
        """The frame after the last."""
        return self._first + len(self._frames)

    def _add(self, frame: Frame) -> None:
        """Without speech, all but a margin is dropped."""
        number = self._end
        self._frames.append(frame)
        last = self._spans[-1] if self._spans else None
        if last and number - last.end < _JOIN_FRAMES and frame.speech >= _GOES_ON_AT:
            self._spans[-1] = replace(last, end=number + 1)
        elif frame.speech >= STARTS_AT:
            self._spans.append(_Span(number, number, number + 1))
        self._drop_silence()

    def _place(self) -> int | None:
        """Before which frame to cut now; None to go on."""
        if not self._spans:
            return None
        last = self._spans[-1].end
        if self._end - last >= self._pause:
            return last + self._margin
        return self._best_place() if len(self._frames) >= self._most else None

    def _take(self, place: int) -> Window | None:
        """Cut before frame `place`; None when what comes before it holds no speech."""
        window = self._window(place)
        self._frames = self._frames[place - self._first :]
        self._first = place
        self._spans = [replace(span, start=max(span.start, place)) for span in self._spans if span.end > place]
        self._drop_silence()
        return window

    def _window(self, place: int) -> Window | None:
        """The frames before `place`; None without speech."""
        spoken = [span for span in self._spans if span.start < place and span.is_speech]
        if not spoken:
            return None
        frames = tuple(self._frames[: place - self._first])
        spans = tuple((span.start, min(span.end, place)) for span in spoken)
        return Window(frames=frames, first=self._first, speech=(spans[0][0], spans[-1][1]), spans=spans)

    def _drop_silence(self) -> None:
        surplus = len(self._frames) - self._margin
        if not self._spans and surplus > 0:
            del self._frames[:surplus]
            self._first += surplus

    def _best_place(self) -> int:
        """The middle of the longest pause in the window's second half, else of its last pause, else where it is
        quietest.
        """
        half = self._first + len(self._frames) // 2
        ends = [span.end for span in self._spans]
        starts = [*(span.start for span in self._spans[1:]), self._end]
        middles = {(end + start) // 2: start - end for end, start in zip(ends, starts, strict=True) if start > end}
        if late := {middle: length for middle, length in middles.items() if middle >= half}:
            return max(late, key=lambda middle: (late[middle], middle))
        if middles:
            return max(middles)
        power = np.array([np.mean(np.square(frame.samples)) for frame in self._frames])
        smooth = np.convolve(power, np.ones(_SMOOTHED_FRAMES), mode="same")
        offset = half - self._first
        return half + int(np.argmin(smooth[offset : -_SMOOTHED_FRAMES // 2]))
