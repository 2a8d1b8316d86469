"""The answers of audio.transcriptions and audio.translations, whole and in events."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class DurationUsage(msgspec.Struct, kw_only=True):
    """The length of the recording."""

    type: Literal["duration"] = "duration"
    seconds: float


class InputTokenDetails(msgspec.Struct, kw_only=True):
    """The prompts' tokens by their kind."""

    text_tokens: int
    audio_tokens: int


class TokenUsage(msgspec.Struct, kw_only=True):
    """Tokens of all requests that the transcript took."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    input_token_details: InputTokenDetails
    output_tokens: int
    total_tokens: int


class SpokenLogprob(msgspec.Struct, kw_only=True):
    """A token of the transcript."""

    token: str
    bytes: list[int]
    logprob: float


class TranscriptState(msgspec.Struct, kw_only=True):
    """Whether the recording was usable to its end; only in an answer about one that was not."""

    complete: bool
    error: str


class TranscriptAnswer(msgspec.Struct, kw_only=True):
    """The format `json`."""

    text: str
    usage: DurationUsage
    logprobs: list[SpokenLogprob] | UnsetType = UNSET
    edgephi: TranscriptState | UnsetType = UNSET


class SegmentBody(msgspec.Struct, kw_only=True):
    """A segment of `verbose_json`.

    `seek` is `start` in hundredths of a second, `no_speech_prob` the share of the segment in which the voice-activity
    model found nobody speaking, `tokens` those of the whole window, at its first segment. A gap has an `avg_logprob` of
    -10; OpenAI's has a text below -1 taken for failed.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class VerboseAnswer(msgspec.Struct, kw_only=True):
    """The format `verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[SegmentBody]
    words: UnsetType | None = UNSET
    usage: DurationUsage
    edgephi: TranscriptState | UnsetType = UNSET


class TextDelta(msgspec.Struct, kw_only=True):
    """More text of a stream."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[SpokenLogprob] | UnsetType = UNSET


class SegmentEvent(SegmentBody, kw_only=True):
    """A complete segment; in streams of `verbose_json` only."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"


class TextDone(msgspec.Struct, kw_only=True):
    """The end of a stream."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    usage: TokenUsage
    logprobs: list[SpokenLogprob] | UnsetType = UNSET
    edgephi: TranscriptState | UnsetType = UNSET
