"""The way of one recording: windows out of it, one request for each, a second try where the model lost its place."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from edgephi.audio.channel_choice import MIX, Channels
from edgephi.base.cancellation import never
from edgephi.base.errors import EdgeError
from edgephi.generation.reply import DoneEvent, Reply, TokenEvent
from edgephi.generation.sampler import SamplingOptions
from edgephi.transcription.loops import LoopGuard
from edgephi.transcription.read_ahead import read_ahead
from edgephi.transcription.recording import Recording
from edgephi.transcription.speech import FRAME_S, Detector, read_frames, silero_detector
from edgephi.transcription.transcript import Segment, Stretch
from edgephi.transcription.windows import Window, WindowRules, cut_windows

if TYPE_CHECKING:
    from edgephi.generation.reply import Event

_TOKENS_PER_S = 12  # fast speech in the language with the longest spelling stays below
_TOKENS_AT_LEAST = 64


class SpeechModel(Protocol):
    """The part of Model that transcribing needs."""

    def stream(
        self, messages: str, *, audio: Any, options: SamplingOptions | None, should_stop: Callable[[], bool] = never
    ) -> Generator[Event, None, None]:
        """See Model.stream."""

    def encode_ahead(self, *, audio: Any, should_stop: Callable[[], bool] = never) -> Sequence[Any]:
        """See Model.encode_ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """How every window is transcribed.

    Attributes:
        prompt: In the words the model was trained on; see prompts.py.
        rules: Where to cut.
        make_detector: Gives the voice-activity model of one recording.
        channel: `mix`, the number of one channel from 1, or `all` to transcribe each on its own.
        encode_ahead: Encode the next window while the decoder writes down the last one. The text is the same.
    """

    prompt: str
    rules: WindowRules = field(default_factory=WindowRules)
    make_detector: Callable[[], Detector] = silero_detector
    channel: Channels = MIX
    encode_ahead: bool = True


def transcribe(
    model: SpeechModel,
    recordings: Recording | Sequence[Recording],
    options: TranscriptionOptions,
    should_stop: Callable[[], bool] = never,
) -> Generator[Segment, None, None]:
    """Write a recording down, or its channels; the work happens while the result is iterated.

    Reading, resampling, voice activity and the speech encoder run in a thread of their own, one window ahead. Memory
    does not grow with the recording. `should_stop` is called between steps, in that thread too; True ends the
    segments after the last complete one.

    Yields:
        A Segment per window with speech, or two or more where one was cut again after a loop; of several channels in
        the order in which the windows begin.

    Raises:
        ConfigError: The recording is damaged further on, or the folder has no speech.
        EdgeError: As `Model.stream`.
    """
    with closing(transcribe_windows(model, recordings, options, should_stop)) as windows:
        for window in windows:
            yield from window


def transcribe_windows(
    model: SpeechModel,
    recordings: Recording | Sequence[Recording],
    options: TranscriptionOptions,
    should_stop: Callable[[], bool] = never,
    done: int = 0,
) -> Generator[tuple[Segment, ...], None, None]:
    """As `transcribe`, a tuple for each window once all of it is written down.

    Args:
        model: As in `transcribe`.
        recordings: As in `transcribe`.
        options: As in `transcribe`.
        should_stop: As in `transcribe`.
        done: Windows at the beginning that an earlier call has written down: the recording is cut in the same way, but
            the model is not given them.
    """
    channels = [recordings] if isinstance(recordings, Recording) else recordings
    transcriber = WindowTranscriber(model, options.prompt, channels[0].sample_rate_hz, should_stop)

    def make(is_closed: Callable[[], bool]) -> Iterator[EncodedWindow]:
        def is_over() -> bool:
            return is_closed() or should_stop()

        windows = [_windows(recording, options, is_over) for recording in channels]
        merged = heapq.merge(*windows, key=lambda pair: pair[0].start_s)
        for window, channel in itertools.islice(merged, done, None):
            if options.encode_ahead:
                yield transcriber.encoded(window, channel, is_over)
            else:
                yield transcriber.raw(window, channel)

    with closing(read_ahead(make)) as encoded:
        for window in encoded:
            segments = tuple(transcriber.segments(window))
            if should_stop():
                return
            yield segments


def _windows(
    recording: Recording, options: TranscriptionOptions, is_over: Callable[[], bool]
) -> Iterator[tuple[Window, int | None]]:
    """A recording's windows, each with its channel."""
    frames = read_frames(recording, options.make_detector())
    for window in cut_windows(itertools.takewhile(lambda _: not is_over(), frames), options.rules):
        yield window, recording.channel


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """A window of a channel, and its audio as the model takes it."""

    window: Window
    channel: int | None
    audio: Sequence[Any]


@dataclass(frozen=True, slots=True)
class WindowTranscriber:
    """Asks the model for one window after the other.

    Attributes:
        model: Answers.
        prompt: For every window.
        sample_rate_hz: Of the windows' samples.
        should_stop: Called between steps; True ends a request.
    """

    model: SpeechModel
    prompt: str
    sample_rate_hz: int
    should_stop: Callable[[], bool]

    def raw(self, window: Window, channel: int | None) -> EncodedWindow:
        """The window as it is."""
        return EncodedWindow(window, channel, [(window.samples, self.sample_rate_hz)])

    def encoded(self, window: Window, channel: int | None, is_closed: Callable[[], bool]) -> EncodedWindow:
        """The window encoded."""
        raw = self.raw(window, channel)
        try:
            return replace(raw, audio=self.model.encode_ahead(audio=raw.audio, should_stop=is_closed))
        except (EdgeError, MemoryError):  # its request tries again, and raises what remains
            return raw

    def segments(self, encoded: EncodedWindow, prediction: str = "") -> Iterator[Segment]:
        """The window's text; after a loop that of its halves, where what loops again is a gap.

        Args:
            encoded: The window.
            prediction: Its probable text, which saves passes and changes nothing.
        """
        segment = self._request(encoded, prediction)
        halves = encoded.window.halves() if segment.is_gap else []
        if len(halves) < 2:  # it was right, or is too short to cut
            yield segment
        else:
            yield from (self._request(self.raw(half, encoded.channel)) for half in halves)

    def partial(self, window: Window, should_stop: Callable[[], bool], prediction: str = "") -> Segment | None:
        """The text of a window that may still grow; None if it was stopped, or the model lost its place.

        Args:
            window: As far as it has come.
            should_stop: Called beside the transcriber's own.
            prediction: As in `segments`.
        """
        raw = self.raw(window, None)
        reply = self._reply(raw, lambda: should_stop() or self.should_stop(), prediction)
        return _segment(raw, reply) if reply is not None and reply.finish_reason == "stop" else None

    def _request(self, encoded: EncodedWindow, prediction: str = "") -> Segment:
        """One request."""
        return _segment(encoded, self._reply(encoded, self.should_stop, prediction))

    def _reply(self, encoded: EncodedWindow, should_stop: Callable[[], bool], prediction: str) -> Reply | None:
        """One reply; None of one that repeats itself, which is stopped at once."""
        length_s = len(encoded.window.frames) * FRAME_S
        reply, guard = None, LoopGuard()
        most = _TOKENS_AT_LEAST + int(length_s * _TOKENS_PER_S)
        options = replace(SamplingOptions.greedy(max_new_tokens=most, logprobs=0), prediction=prediction)
        events = self.model.stream(self.prompt, audio=encoded.audio, options=options, should_stop=should_stop)
        with closing(events):
            for event in events:
                if isinstance(event, TokenEvent) and guard.push(event.token_id):
                    break
                if isinstance(event, DoneEvent):
                    reply = event.reply
        return reply


def _segment(encoded: EncodedWindow, reply: Reply | None) -> Segment:
    """A gap without a reply, and with one that had to be cut: no language needs so many tokens."""
    window = encoded.window
    is_gap = reply is None or reply.finish_reason == "length"
    return Segment(
        start_s=window.start_s,
        end_s=window.end_s,
        text="" if reply is None or is_gap else reply.text.strip(),
        confidence=None if reply is None or is_gap else confidence(reply),
        is_gap=is_gap,
        channel=encoded.channel,
        speech=tuple(Stretch(first * FRAME_S, last * FRAME_S) for first, last in window.spans),
    )


def confidence(reply: Reply) -> float | None:
    """Geometric mean of the probabilities of the reply's tokens, 0 to 1; None without any."""
    logprobs = [choice.logprob for choice in reply.logprobs if choice.logprob is not None]
    return math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else None
