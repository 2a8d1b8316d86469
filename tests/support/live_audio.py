"""A recording that arrives in real time, without waiting: while a scripted model works, audio comes by its clock."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.generation.reply import Event
from edgephi.transcription.live.captions import Caption, FinalCaption, LostCaption, PartialCaption
from edgephi.transcription.live.session import LiveControl, LiveOptions, LiveTranscription
from support.speech_model import FakeModel, loudness

CHUNK_S = 0.1
Script = Callable[[int, NDArray[np.float32]], Sequence[int]]


class Broadcast:
    """One live transcription of a recording by a scripted model that takes `cost` seconds a second of audio.

    Attributes:
        now_s: Of the clock; audio up to it has been pushed.
        model: With the windows that it was given.
        events: What began and ended, with the clock's time.
    """

    def __init__(self, samples: NDArray[np.float32], script: Script, *, cost: float = 0.0, **options: Any) -> None:
        self._samples = samples
        self._cost = cost
        self.now_s = 0.0
        self.events: list[tuple[float, object]] = []
        self.model = _SlowModel(script, self)
        chosen = LiveOptions(**{"prompt": "Write.", "make_detector": lambda: loudness, **options})
        self.session = LiveTranscription(
            self.model, 16_000, chosen, LiveControl(clock=lambda: self.now_s, on_speech=self._note)
        )

    def captions(self) -> Iterator[tuple[float, Caption]]:
        """Every caption with the clock's time, until the audio has ended and all is written down."""
        while True:
            before = len(self.model.windows)
            caption = self.session.step()
            if caption is not None:
                yield self.now_s, caption
            elif len(self.model.windows) > before:
                continue  # a partial caption that was given up
            elif self.now_s >= len(self._samples) / 16_000 and not self.session.waiting_s:
                return
            else:
                self.advance(CHUNK_S)

    def advance(self, seconds: float) -> None:
        """Let time go by, and the audio with it."""
        for _ in range(max(1, round(seconds / CHUNK_S))):
            start = round(self.now_s * 16_000)
            if start >= len(self._samples):
                self.now_s += CHUNK_S
                continue
            piece = self._samples[start : start + round(CHUNK_S * 16_000)]
            self.now_s = round(self.now_s + CHUNK_S, 3)
            self.session.push(piece)
            if round(self.now_s * 16_000) >= len(self._samples):
                self.session.end()

    def _note(self, event: object) -> None:
        self.events.append((self.now_s, event))

    def work(self, audio_s: float, should_stop: Callable[[], bool]) -> bool:
        """What the model takes for so much audio; whether it was stopped, which is asked every 0.1 s."""
        left_s = audio_s * self._cost
        while left_s > 1e-9:
            self.advance(CHUNK_S)
            left_s -= CHUNK_S
            if should_stop():
                return True
        return False


class _SlowModel(FakeModel):
    def __init__(self, script: Script, broadcast: Broadcast) -> None:
        super().__init__(script)
        self._broadcast = broadcast

    def stream(
        self, messages: str, *, audio: Any, options: Any, should_stop: Callable[[], bool] = lambda: False
    ) -> Generator[Event, None, None]:
        """See Model.stream."""
        is_stopped = self._broadcast.work(len(audio[0][0]) / 16_000, should_stop)
        yield from super().stream(messages, audio=audio, options=options, should_stop=lambda: is_stopped)


def finals(captions: Iterator[tuple[float, Caption]] | Sequence[tuple[float, Caption]]) -> list[FinalCaption]:
    """Of captions with their times."""
    return [caption for _, caption in captions if isinstance(caption, FinalCaption)]


def partials(captions: Sequence[tuple[float, Caption]]) -> list[PartialCaption]:
    """Of captions with their times."""
    return [caption for _, caption in captions if isinstance(caption, PartialCaption)]


def lost(captions: Sequence[tuple[float, Caption]]) -> list[LostCaption]:
    """Of captions with their times."""
    return [caption for _, caption in captions if isinstance(caption, LostCaption)]
