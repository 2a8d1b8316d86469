"""A transcript in each of its formats, in pieces or whole."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, UnsetType

from edgephi import Choice, Segment, Transcript
from edgephi.transcription.cues import MOST_S, cut_cues, shorter
from edgephi.transcription.formats import lines, timestamp
from edgephi.transcription.transcript import spoken
from edgephi_serve.reading.transcription import TranscriptEnd, TranscriptPiece, TranscriptWork
from edgephi_serve.wire.audio import (
    DurationUsage,
    InputTokenDetails,
    SegmentBody,
    SegmentEvent,
    SpokenLogprob,
    TextDelta,
    TextDone,
    TokenUsage,
    TranscriptAnswer,
    TranscriptState,
    VerboseAnswer,
)

CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8", "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}  # fmt: skip
_ENCODER = msgspec.json.Encoder()
#: Far below the -1 from which OpenAI has a text taken for failed.
_GAP_LOGPROB = -10.0


@dataclass(slots=True)
class TranscriptWriter:
    """Turns the pieces of a transcript into its answer.

    Attributes:
        work: The request.
        token_bytes: Of a token id.
    """

    work: TranscriptWork
    token_bytes: Callable[[int], bytes]
    _segments: list[SegmentBody] = field(default_factory=list)
    _logprobs: list[SpokenLogprob] = field(default_factory=list)
    _cues: int = 0
    _has_text: bool = False

    def start(self) -> bytes:
        """The beginning of a file of the format."""
        return b"WEBVTT\n" if self.work.form == "vtt" else b""

    def text(self, piece: TranscriptPiece) -> bytes:
        """A piece of `text`, `srt` or `vtt`."""
        segment, most_s = piece.segment, self.work.max_segment_s
        if self.work.form == "text":
            return "".join(f"{line}\n" for line in lines(segment, most_s)).encode()
        return "".join(self._cue_texts(segment, MOST_S if most_s is None else most_s)).encode()

    def events(self, piece: TranscriptPiece) -> Iterator[bytes]:
        """The server-sent events of a piece."""
        words = spoken(piece.segment)
        fresh = self._note(piece)
        if words:
            delta = f" {words}" if self._has_text else words
            self._has_text = True
            yield _event(TextDelta(delta=delta, logprobs=self._logprobs_of(piece) if self.work.has_logprobs else UNSET))
        if self.work.form == "verbose_json":
            for body in fresh:
                yield _event(SegmentEvent(**msgspec.structs.asdict(body)))

    def done(self, end: TranscriptEnd) -> bytes:
        """The last event."""
        usage = TokenUsage(
            input_tokens=end.prompt_tokens,
            input_token_details=InputTokenDetails(
                text_tokens=end.prompt_tokens - end.audio_tokens, audio_tokens=end.audio_tokens
            ),
            output_tokens=end.new_tokens,
            total_tokens=end.prompt_tokens + end.new_tokens,
        )
        return _event(
            TextDone(
                text=end.transcript.text, usage=usage, logprobs=self._wanted_logprobs(), edgephi=_state(end.transcript)
            )
        )

    def note(self, piece: TranscriptPiece) -> None:
        """A piece of an answer that is given whole."""
        self._note(piece)

    def whole(self, end: TranscriptEnd) -> bytes:
        """The answer in JSON."""
        transcript = end.transcript
        duration_s = round(transcript.duration_s, 3)
        usage, state = DurationUsage(seconds=duration_s), _state(transcript)
        if self.work.form == "json":
            return _ENCODER.encode(
                TranscriptAnswer(text=transcript.text, usage=usage, logprobs=self._wanted_logprobs(), edgephi=state)
            )
        return _ENCODER.encode(
            VerboseAnswer(
                task=self.work.task,
                language=self.work.language or "unknown",
                duration=duration_s,
                text=transcript.text,
                segments=self._segments,
                words=None if self.work.has_words else UNSET,
                usage=usage,
                edgephi=state,
            )
        )

    def _cue_texts(self, segment: Segment, most_s: float) -> Iterator[str]:
        for cue in cut_cues(segment, most_s):
            self._cues += 1
            text = "\n".join(cue.lines)
            if self.work.form == "vtt":
                escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                yield f"\n{timestamp(cue.start_s)} --> {timestamp(cue.end_s)}\n{escaped}\n"
            else:  # some players take any line with an arrow for a cue's times
                times = f"{timestamp(cue.start_s, ',')} --> {timestamp(cue.end_s, ',')}"
                gap = "\n" if self._cues > 1 else ""
                yield f"{gap}{self._cues}\n{times}\n{text.replace('-->', '->')}\n"

    def _note(self, piece: TranscriptPiece) -> list[SegmentBody]:
        """Keep a piece; the segments that are new."""
        if self.work.has_logprobs:
            self._logprobs += self._logprobs_of(piece)
        if self.work.form != "verbose_json":
            return []
        segment, most_s = piece.segment, self.work.max_segment_s
        parts = [segment] if most_s is None else shorter(segment, most_s)
        tokens = [choice.token_id for choice in piece.choices]
        fresh = [
            _body(part, len(self._segments) + i, tokens if i == 0 else [], piece.choices)
            for i, part in enumerate(parts)
        ]
        self._segments += fresh
        return fresh

    def _logprobs_of(self, piece: TranscriptPiece) -> list[SpokenLogprob]:
        return logprobs_of(piece.choices, self.token_bytes)

    def _wanted_logprobs(self) -> list[SpokenLogprob] | UnsetType:
        return self._logprobs if self.work.has_logprobs else UNSET


def logprobs_of(choices: Iterable[Choice], token_bytes: Callable[[int], bytes]) -> list[SpokenLogprob]:
    """The tokens of a text with their probabilities."""
    found = []
    for choice in choices:
        if choice.logprob is not None:
            content = token_bytes(choice.token_id)
            text = content.decode("utf-8", "replace")
            found.append(SpokenLogprob(token=text, bytes=list(content), logprob=choice.logprob))
    return found


def _body(part: Segment, number: int, tokens: list[int], choices: tuple[Choice, ...]) -> SegmentBody:
    text = spoken(part)
    content = text.encode()
    return SegmentBody(
        id=number,
        seek=round(part.start_s * 100),
        start=round(part.start_s, 3),
        end=round(part.end_s, 3),
        text=text,
        tokens=tokens,
        temperature=0.0,
        avg_logprob=_mean_logprob(part, choices),
        compression_ratio=round(len(content) / len(zlib.compress(content)), 4) if content else 0.0,
        no_speech_prob=_silence(part),
    )


def _mean_logprob(segment: Segment, choices: tuple[Choice, ...]) -> float:
    """Of its tokens. A number also for a gap, which has none: clients in typed languages take no null for one."""
    logprobs = [choice.logprob for choice in choices if choice.logprob is not None]
    if logprobs:
        return round(math.fsum(logprobs) / len(logprobs), 4)
    return round(math.log(segment.confidence), 4) if segment.confidence else _GAP_LOGPROB


def _silence(segment: Segment) -> float:
    """The share of a segment's time in which nobody speaks; 0 where that is not known."""
    length_s = segment.end_s - segment.start_s
    if not segment.speech or length_s <= 0:
        return 0.0
    speech_s = math.fsum(stretch.end_s - stretch.start_s for stretch in segment.speech)
    return round(min(max(1 - speech_s / length_s, 0.0), 1.0), 4)


def _state(transcript: Transcript) -> TranscriptState | UnsetType:
    return UNSET if transcript.error is None else TranscriptState(complete=False, error=transcript.error)


def _event(body: TextDelta | SegmentEvent | TextDone) -> bytes:
    """Named, as Subtitle Edit passes over events without a name."""
    return b"event: " + body.type.encode() + b"\ndata: " + _ENCODER.encode(body) + b"\n\n"
