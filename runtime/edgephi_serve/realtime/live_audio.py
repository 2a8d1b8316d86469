"""The audio of one session: decoded and cut as it comes, written down in turns of the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from edgephi import Choice, Reply, Segment
from edgephi.audio.pcm_stream import PcmDecoder
from edgephi.transcription.live.captions import FinalCaption, LostCaption
from edgephi.transcription.live.session import LiveControl, LiveOptions, LiveTranscription, SpeechEvent
from edgephi.transcription.live.utterances import Utterance
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError, invalid
from edgephi_serve.reading.realtime import SessionState
from edgephi_serve.reading.turn_model import TurnModel
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job
from edgephi_serve.writing.realtime import (
    CommittedByHand,
    FinalText,
    Happening,
    SpeechBegan,
    SpeechEnded,
    error_event,
)

_POLL_S = 0.05
_LEAST_COMMIT_S = 0.1


class LiveAudio:
    """Takes audio in one thread, and makes captions in that of a job.

    Args:
        engine: Notified of damage.
        metrics: Count seconds.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._behind_s = engine.settings.times.behind_s
        self._has_begun = threading.Event()
        self._taken = self._uncommitted = 0  # samples

    @property
    def has_begun(self) -> bool:
        """Whether audio has come, so that its format stays."""
        return self._has_begun.is_set()

    def work(self, job: Job[Happening]) -> None:
        """Emit captions until the job is stopped. Runs in its thread."""
        while not self._has_begun.wait(_POLL_S):
            if job.should_stop():
                return
        for caption in self._live.captions():
            if isinstance(caption, FinalCaption):
                self._metrics.realtime_lag_s.observe(caption.lag_s)
                job.emit(FinalText(caption, self._model.choices_of(caption.segments)))
            else:
                if isinstance(caption, LostCaption) and caption.error is not None:
                    self._engine.note_failure(caption.error)
                job.emit(caption)

    def begin(self, job: Job[Happening], state: SessionState) -> None:
        """Before the first audio. Always called in the same thread, as what follows."""
        self._job, self._is_by_hand = job, state.is_by_hand
        self._decoder, self._rate_hz = PcmDecoder(state.pcm), state.pcm.sample_rate_hz
        self._shift_s = 0.0
        self._is_behind = self._has_ended_item = False
        self._model = _LiveModel(job)
        control = LiveControl(should_stop=job.should_stop, is_wanted=job.is_wanted, on_speech=self._on_speech)
        options = LiveOptions(rules=state.rules, most_waiting_s=2 * self._behind_s)
        self._live = LiveTranscription(self._model, self._rate_hz, options, control)
        self._has_begun.set()

    def push(self, content: bytes) -> None:
        """Take samples, cut anywhere."""
        samples = self._decoder.push(content)[:, 0]
        self._taken += len(samples)
        self._uncommitted += len(samples)
        self._live.push(samples)
        waiting_s = self._live.waiting_s
        if waiting_s > self._behind_s and not self._is_behind:
            self._is_behind = True
            message = f"The machine is behind: {waiting_s:.0f} s of speech wait to be written down."
            self._job.emit(error_event(ApiError(503, "server_error", "falling_behind", message)))
        elif waiting_s < self._behind_s / 2:  # each item that is taken lets less wait: that alone is no catching up
            self._is_behind = False

    def commit(self) -> None:
        """End the item here.

        Raises:
            ApiError: There is too little audio for one.
        """
        length_s = self._uncommitted / self._rate_hz if self.has_begun else 0.0
        if length_s < _LEAST_COMMIT_S:
            raise invalid(
                f"{length_s * 1000:.0f} ms of audio have come since the last item; an item takes "
                f"{_LEAST_COMMIT_S * 1000:.0f} ms or more.",
                code="input_audio_buffer_commit_empty",
            )
        self._has_ended_item = False
        self._live.flush()
        if self._is_by_hand or not self._has_ended_item:
            self._job.emit(CommittedByHand())
        self._restart()

    def clear(self) -> None:
        """Throw away what is no item yet."""
        if self.has_begun:
            self._live.clear()
            self._decoder.clear()
            self._restart()

    def _restart(self) -> None:
        """What comes begins a new frame, so that the times of frames no longer are those of the audio."""
        self._uncommitted = 0
        self._shift_s = self._taken / self._rate_hz - self._live.reached_s

    def _on_speech(self, event: SpeechEvent) -> None:
        if not isinstance(event, Utterance):
            self._job.emit(SpeechBegan(event.number, event.start_s + self._shift_s))
            return
        self._has_ended_item = True
        if not self._is_by_hand:
            self._uncommitted = 0
        self._metrics.audio_s.inc(event.length_s)
        self._job.emit(SpeechEnded(event.number, event.window.end_s + self._shift_s, event.length_s))


class _LiveModel(TurnModel[Happening]):
    """The model as one session uses it."""

    def __init__(self, job: Job[Happening]) -> None:
        super().__init__(job)
        self._replies: deque[Reply] = deque()

    def note(self, reply: Reply) -> None:
        """Keep it until its final caption."""
        self._replies.append(reply)

    def choices_of(self, segments: Sequence[Segment]) -> tuple[Choice, ...]:
        """The tokens of a final caption, whose replies are the last; those of partial captions are dropped."""
        found: tuple[Choice, ...] = ()
        for segment in reversed(segments):
            while not segment.is_gap and self._replies:
                reply = self._replies.pop()
                if reply.text.strip() == segment.text:
                    found = (*reply.logprobs, *found)
                    break
        self._replies.clear()
        return found
