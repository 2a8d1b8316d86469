"""One live transcription: one thread pushes audio, another takes the captions.

    push:     audio -> utterances, cut at their pauses; those that ended wait for the model
    captions: the oldest that waits is written down; while none waits, the open one is read as far as it has come, and
              in the silence after it all of it, so that its text is ready, or nearly, once the pause has ended it

Nothing here sleeps or asks for the time of day: with `step` a program of one thread can do both in turn.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import never
from edgephi.base.errors import ConfigError, EdgeError
from edgephi.base.numbers import is_finite
from edgephi.transcription.live.captions import Caption, FinalCaption, LostCaption, PartialCaption
from edgephi.transcription.live.reading import Reading
from edgephi.transcription.live.utterances import SpeechStart, Utterance, UtteranceCutter
from edgephi.transcription.prompts import prompt_for
from edgephi.transcription.speech import Detector, silero_detector
from edgephi.transcription.transcriber import SpeechModel, WindowTranscriber
from edgephi.transcription.transcript import Segment
from edgephi.transcription.windows import WindowRules

MOST_WAITING_S = 120.0
_POLL_S = 0.05
#: An utterance is read again once it has grown by so many times what its last reading took: the rest is left to others.
_GROWTH_PER_COST = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How live audio is transcribed.

    Attributes:
        prompt: In the words the model was trained on; see prompts.py.
        rules: Where an utterance ends.
        has_partials: Read an utterance before it has ended, while the machine keeps up.
        least_growth_s: Seconds of new speech for another reading.
        most_waiting_s: Speech that may wait for the model; the oldest of more is dropped. None for any length.
        make_detector: Gives the voice-activity model.
    """

    prompt: str = field(default_factory=lambda: prompt_for(None))
    rules: WindowRules = field(default_factory=WindowRules)
    has_partials: bool = True
    least_growth_s: float = 1.0
    most_waiting_s: float | None = MOST_WAITING_S
    make_detector: Callable[[], Detector] = silero_detector

    def __post_init__(self) -> None:
        if not is_finite(self.least_growth_s) or self.least_growth_s <= 0:
            raise ConfigError(f"least_growth_s is {self.least_growth_s!r}; use a number of seconds above 0")
        if self.most_waiting_s is not None and (not is_finite(self.most_waiting_s) or self.most_waiting_s <= 0):
            raise ConfigError(f"most_waiting_s is {self.most_waiting_s!r}; use a number of seconds above 0, or None")


SpeechEvent = SpeechStart | Utterance


def ignore_speech(_: SpeechEvent) -> None:
    """The default observer: does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveControl:
    """How a live transcription is observed and steered while it runs.

    Attributes:
        should_stop: Called between steps; True ends the captions without finishing one.
        is_wanted: Whether others wait for the model: then no partial caption is begun, and one is given up.
        on_speech: Called where speech begins and ends, by the thread that pushes, before a caption of it can be made.
            It must not wait.
        clock: Gives seconds.
    """

    should_stop: Callable[[], bool] = never
    is_wanted: Callable[[], bool] = never
    on_speech: Callable[[SpeechEvent], None] = ignore_speech
    clock: Callable[[], float] = time.monotonic


class LiveTranscription:
    """Audio in, captions out.

    The final captions are the segments that `Model.transcribe` gives for a recording of the same audio with the same
    rules, as long as nothing is dropped and the audio is loud enough to be taken as it is (see UtteranceCutter).
    A partial caption is given up as soon as an utterance has ended of which it has not all, so that it delays no final
    one.

    Args:
        model: Writes down.
        sample_rate_hz: Of the audio, from 8,000 up.
        options: How.
        control: Of this one.

    Raises:
        ConfigError: A rate that the model cannot take.
    """

    def __init__(
        self,
        model: SpeechModel,
        sample_rate_hz: int,
        options: LiveOptions | None = None,
        control: LiveControl | None = None,
    ) -> None:
        self._options, self._control = options or LiveOptions(), control or LiveControl()
        self._cutter = UtteranceCutter(sample_rate_hz, self._options.rules, self._options.make_detector())
        self._is_stopped, self._clock = self._control.should_stop, self._control.clock
        self._transcriber = WindowTranscriber(
            model, self._options.prompt, self._cutter.sample_rate_hz, self._control.should_stop
        )
        self._changed = threading.Condition()
        self._waiting: deque[Utterance | LostCaption] = deque()
        self._reading: Reading | None = None
        self._final_cost = 0.0  # seconds a second of the last utterance took
        self._has_ended = False

    @property
    def reached_s(self) -> float:
        """Audio so far."""
        return self._cutter.reached_s

    @property
    def waiting_s(self) -> float:
        """Audio of the utterances that have ended and wait for the model."""
        with self._changed:
            return self._waiting_s()

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next audio; always by the same thread.

        Args:
            samples: float32 [n], mono, full scale 1.0. Not modified.
        """
        with self._changed:
            self._note(self._cutter.push(samples))

    def flush(self) -> None:
        """End the utterance here, though there was no pause."""
        with self._changed:
            self._note(self._cutter.flush())

    def clear(self) -> None:
        """Throw away the utterance that goes on. Those that have ended are still written down."""
        with self._changed:
            self._cutter.clear()

    def end(self) -> None:
        """The audio has ended: its last utterance has, and after that the captions do. Nothing may be pushed then."""
        with self._changed:
            self._has_ended = True
            self._note(self._cutter.end())

    def captions(self) -> Generator[Caption, None, None]:
        """Captions in the order of their utterances, as they are made; waits for audio."""
        while not self._is_stopped():
            with self._changed:
                is_due = bool(self._waiting) or self._due() is not None
                if not is_due:
                    if self._has_ended:
                        return
                    self._changed.wait(_POLL_S)
                    continue
            if caption := self.step():
                yield caption

    def step(self) -> Caption | None:
        """Do what is to be done now, which may be nothing, or end without a caption."""
        with self._changed:
            first = self._waiting.popleft() if self._waiting else None
            opened = self._due() if first is None else None
        if isinstance(first, LostCaption):
            return first
        if first is not None:
            return self._final(first)
        return None if opened is None else self._partial(opened)

    def _note(self, events: Iterable[SpeechEvent]) -> None:
        """Utterances wait from now on; the oldest are dropped where too many do."""
        for event in events:
            self._control.on_speech(event)
            if isinstance(event, Utterance):
                self._waiting.append(event)
        most_s = self._options.most_waiting_s
        while most_s is not None and self._waiting_s() > most_s and self._drop_oldest():
            pass
        self._changed.notify_all()

    def _waiting_s(self) -> float:
        return sum(one.length_s for one in self._waiting if isinstance(one, Utterance))

    def _drop_oldest(self) -> bool:
        for index, one in enumerate(self._waiting):
            if isinstance(one, Utterance):
                self._waiting[index] = _lost(one)
                return True
        return False

    def _final(self, utterance: Utterance) -> FinalCaption | LostCaption | None:
        try:
            segments = self._whole(utterance)
        except EdgeError as error:
            return _lost(utterance, error)
        if self._is_stopped():
            return None
        lag_s = max(0.0, self.reached_s - utterance.window.end_s)
        return FinalCaption(number=utterance.number, segments=segments, lag_s=lag_s)

    def _whole(self, utterance: Utterance) -> tuple[Segment, ...]:
        """Its text, which was read in the silence that ended it, or is read now."""
        reading, began_s = self._reading_of(utterance), self._clock()
        if reading.segment is not None and reading.has_read(utterance):
            self._final_cost = reading.cost_s / utterance.length_s
            return (reading.segment,)
        segments = tuple(self._transcriber.segments(self._transcriber.raw(utterance.window, None), reading.last))
        self._final_cost = (self._clock() - began_s) / utterance.length_s
        return segments

    def _reading_of(self, utterance: Utterance) -> Reading:
        if self._reading is None or self._reading.number != utterance.number:
            self._reading = Reading(utterance.number, utterance.window.start_s)
        return self._reading

    def _due(self) -> Utterance | None:
        """The open utterance, if it is to be read now, or the one that will end if the silence goes on."""
        if not self._options.has_partials or self._waiting or self._control.is_wanted():
            return None
        if (ending := self._cutter.ending()) is not None:
            return None if self._reading_of(ending).has_read(ending) else ending
        if self._is_slow or (opened := self._cutter.open()) is None:
            return None
        reading = self._reading_of(opened)
        least_s = max(self._options.least_growth_s, _GROWTH_PER_COST * reading.cost_s)
        return opened if opened.window.end_s - reading.end_s >= least_s else None

    def _partial(self, opened: Utterance) -> PartialCaption | None:
        reading, began_s = self._reading_of(opened), self._clock()
        segment = None
        with suppress(EdgeError):  # its final caption reports it
            segment = self._transcriber.partial(opened.window, self._overtaken(opened), reading.last)
        reading.cost_s, reading.read, reading.segment = self._clock() - began_s, opened, segment
        if segment is None or self._waiting:  # without a text, or that of the final caption which comes now
            return None
        reading.last, added = segment.text, reading.text.observe(segment.text)
        return PartialCaption(
            number=opened.number,
            start_s=opened.window.start_s,
            settled=reading.text.settled,
            added=added,
            tail=reading.text.tail,
            lag_s=max(0.0, self.reached_s - opened.window.end_s),
        )

    @property
    def _is_slow(self) -> bool:
        """Whether the model took longer than the last utterance: then none is read but as a whole."""
        return self._final_cost >= 1.0

    def _overtaken(self, read: Utterance) -> Callable[[], bool]:
        """A check whether a reading is given up: for one of the whole utterance, once that will end or has ended, and,
        unless it is that of an utterance that has ended, for others who wait.
        """
        with self._changed:
            ending = self._cutter.ending()
        is_whole = ending is not None and ending.has_audio_of(read)

        def is_overtaken() -> bool:
            with self._changed:
                first = self._waiting[0] if self._waiting else None
                if first is not None:
                    return isinstance(first, LostCaption) or not first.has_audio_of(read)
                will_end = self._cutter.ending() is not None
                return self._control.is_wanted() or (will_end if not is_whole else self._is_slow and not will_end)

        return is_overtaken


def _lost(utterance: Utterance, error: EdgeError | None = None) -> LostCaption:
    window = utterance.window
    return LostCaption(number=utterance.number, start_s=window.start_s, end_s=window.end_s, error=error)
