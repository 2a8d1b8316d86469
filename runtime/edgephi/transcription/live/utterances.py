"""Utterances of audio that comes in pieces: when one begins and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgephi.transcription.leveling import Leveling
from edgephi.transcription.live.frames import LiveFrames
from edgephi.transcription.speech import FRAME_S, Detector, Frame
from edgephi.transcription.windows import Window, WindowCutter, WindowRules

#: Speech is so much louder than the noise around it; a room in which nobody speaks yet must not be raised.
_LEAST_RANGE_DB = 12.0


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Somebody began to speak.

    Attributes:
        number: Of the utterance, from 0.
        start_s: When, from the beginning of the audio.
    """

    number: int
    start_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Speech up to a pause, or to where it had to be cut.

    Attributes:
        number: From 0.
        window: Its audio.
    """

    number: int
    window: Window

    @property
    def length_s(self) -> float:
        """Of its audio, a little silence at its ends included."""
        return len(self.window.frames) * FRAME_S

    def has_audio_of(self, other: Utterance) -> bool:
        """Whether another utterance of the same live audio has exactly the same."""
        return self._key == other._key

    @property
    def _key(self) -> tuple[int, int, float]:
        return self.window.first, len(self.window.frames), self.window.frames[0].gain


class UtteranceCutter:
    """Cuts audio where a whole recording would be cut by the same rules.

    A recording is raised by what its next minute holds; live audio can only be raised by what came before, from its
    second utterance on, and never in the midst of one. Audio that is not too quiet is raised in neither.

    Args:
        sample_rate_hz: Of what is pushed.
        rules: Where to cut.
        detector: Gives the probability of speech.

    Raises:
        ConfigError: A rate that the model cannot take.
    """

    def __init__(self, sample_rate_hz: int, rules: WindowRules, detector: Detector) -> None:
        self._frames = LiveFrames(sample_rate_hz)
        self._cutter = WindowCutter.of(rules)
        self._detector = detector
        self._leveling, self._gain = Leveling(), 1.0
        self._number = 0
        self._has_started = False
        self._num_frames = 0

    @property
    def sample_rate_hz(self) -> int:
        """Of the utterances' samples."""
        return self._frames.sample_rate_hz

    @property
    def reached_s(self) -> float:
        """Up to where the audio has been searched for speech."""
        return self._num_frames * FRAME_S

    def push(self, samples: NDArray[np.float32]) -> Iterator[SpeechStart | Utterance]:
        """What begins and what ends in the next samples, float32 [n]. Takes about 1 ms for each 32 ms of them."""
        for own, chunk in self._frames.push(samples):
            yield from self._frame(own, chunk)

    def flush(self) -> Iterator[SpeechStart | Utterance]:
        """End the utterance here, though there was no pause; its last frame is filled up with silence."""
        yield from self.end()
        self._frames.restart()

    def clear(self) -> None:
        """Throw away what has not ended. The number of an utterance that had begun is not used again."""
        self._cutter.end()
        self._frames.restart()
        self._number += self._has_started
        self._has_started = False

    def end(self) -> Iterator[SpeechStart | Utterance]:
        """The audio has ended: what is left of it. Nothing may be pushed after it."""
        for own, chunk in self._frames.end():
            yield from self._frame(own, chunk)
        if window := self._cutter.end():
            yield self._utterance(window)

    def open(self) -> Utterance | None:
        """The utterance that has not ended, as far as it has come."""
        return self._numbered(self._cutter.open())

    def ending(self) -> Utterance | None:
        """The utterance that the silence so far will end if it goes on; None until it can get no more audio by that."""
        return self._numbered(self._cutter.ending())

    def _numbered(self, window: Window | None) -> Utterance | None:
        return None if window is None else Utterance(self._number, _leveled(window))

    def _frame(self, own: NDArray[np.float32], chunk: NDArray[np.float32]) -> Iterator[SpeechStart | Utterance]:
        gain = self._leveling.gain(chunk[np.newaxis], _LEAST_RANGE_DB)
        if self._cutter.is_silent:
            self._gain = gain
        if self._gain > 1.0:
            chunk = np.clip(chunk * np.float32(self._gain), -1.0, 1.0)
        window = self._cutter.push(Frame(own, self._detector(chunk), self._gain))
        self._num_frames += 1
        if window is not None:
            yield self._utterance(window)
        if not self._has_started and (opened := self._cutter.open()):
            self._has_started = True
            yield SpeechStart(self._number, opened.start_s)

    def _utterance(self, window: Window) -> Utterance:
        ended = Utterance(self._number, _leveled(window))
        self._number += 1
        self._has_started = False
        return ended


def _leveled(window: Window) -> Window:
    """All of it raised as its speech was: the silence before may have come before the gain was known."""
    gain = window.frames[-1].gain
    if window.frames[0].gain == gain:
        return window
    return replace(window, frames=tuple(replace(frame, gain=gain) for frame in window.frames))
