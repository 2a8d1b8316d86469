"""The events of a session of live captions, named as OpenAI's Realtime interface names them."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from edgephi_serve.wire.audio import DurationUsage, SpokenLogprob

INCLUDE_LOGPROBS = "item.input_audio_transcription.logprobs"
INCLUDE_TAIL = "edgephi.tail"


def new_id(kind: str) -> str:
    """An id that nothing else has."""
    return f"{kind}_{secrets.token_hex(10)}"


class EventHead(msgspec.Struct, frozen=True, kw_only=True):
    """Any event of a client, before the rest of it is read."""

    type: str
    event_id: str | None = None


class AudioFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How samples are written; `rate` in samples a second."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | None = None


class TranscriptionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes down."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None


class TurnDetection(msgspec.Struct, frozen=True, kw_only=True):
    """Where an item ends by itself."""

    type: str = "server_vad"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


class NoiseReduction(msgspec.Struct, frozen=True, kw_only=True):
    """Asked for by clients; not offered."""

    type: str | None = None


class InputChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a session's audio."""

    format: AudioFormat | UnsetType | None = UNSET
    transcription: TranscriptionConfig | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    noise_reduction: NoiseReduction | UnsetType | None = UNSET


class AudioChange(msgspec.Struct, frozen=True, kw_only=True):
    """See InputChange."""

    input: InputChange = InputChange()


class SessionChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a session."""

    type: str = "transcription"
    audio: AudioChange = AudioChange()
    include: list[str] | UnsetType | None = UNSET


class SessionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """`session.update`."""

    session: SessionChange


class AudioAppend(msgspec.Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.append`; base64 in JSON."""

    audio: bytes


class AudioCommit(msgspec.Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.commit`."""


class AudioClear(msgspec.Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.clear`."""


ClientEvent = SessionUpdate | AudioAppend | AudioCommit | AudioClear
CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": AudioCommit,
    "input_audio_buffer.clear": AudioClear,
}


class SessionInput(msgspec.Struct, frozen=True, kw_only=True):
    """A session's audio as it is taken."""

    format: AudioFormat
    transcription: TranscriptionConfig
    turn_detection: TurnDetection | None
    noise_reduction: None = None


class SessionAudio(msgspec.Struct, frozen=True, kw_only=True):
    """See SessionInput."""

    input: SessionInput


class SessionBody(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is; `expires_at` in seconds since 1970."""

    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    expires_at: int
    audio: SessionAudio
    include: list[str]


class ServerEvent(msgspec.Struct, kw_only=True):
    """Any event of the server."""

    event_id: str = msgspec.field(default_factory=lambda: new_id("event"))


class SessionCreated(ServerEvent, kw_only=True):
    """The first event."""

    type: Literal["session.created"] = "session.created"
    session: SessionBody


class SessionUpdated(ServerEvent, kw_only=True):
    """The session after a change."""

    type: Literal["session.updated"] = "session.updated"
    session: SessionBody


class SpeechStarted(ServerEvent, kw_only=True):
    """Somebody began to speak."""

    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerEvent, kw_only=True):
    """A pause has ended what was said."""

    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class AudioCommitted(ServerEvent, kw_only=True):
    """Audio has become an item."""

    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None


class AudioCleared(ServerEvent, kw_only=True):
    """Audio that was no item yet has been thrown away."""

    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class ItemContent(msgspec.Struct, kw_only=True):
    """The audio of an item, which is not kept."""

    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(msgspec.Struct, kw_only=True):
    """Something that was said."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: list[ItemContent] = msgspec.field(default_factory=lambda: [ItemContent()])


class ItemAdded(ServerEvent, kw_only=True):
    """An item is there."""

    type: Literal["conversation.item.added"] = "conversation.item.added"
    previous_item_id: str | None
    item: Item


class ItemDone(ServerEvent, kw_only=True):
    """An item is whole."""

    type: Literal["conversation.item.done"] = "conversation.item.done"
    previous_item_id: str | None
    item: Item


class TranscriptDelta(ServerEvent, kw_only=True):
    """More settled words of an item; they are never taken back."""

    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str


class TranscriptCompleted(ServerEvent, kw_only=True):
    """The text of an item, which counts."""

    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    usage: DurationUsage
    logprobs: list[SpokenLogprob] | UnsetType = UNSET


class Failure(msgspec.Struct, kw_only=True):
    """What went wrong, for people and for programs; `event_id` is the client's."""

    type: str
    code: str | None
    message: str
    param: str | None
    event_id: str | UnsetType | None = UNSET


class TranscriptFailed(ServerEvent, kw_only=True):
    """An item has no text."""

    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: int = 0
    error: Failure


class Tail(ServerEvent, kw_only=True):
    """Words behind the settled ones, which may still change; each event replaces the one before."""

    type: Literal["edgephi.tail"] = "edgephi.tail"
    item_id: str
    text: str
    lag_s: float


class ErrorEvent(ServerEvent, kw_only=True):
    """Something that the client did, or that it has to know; the session stays open."""

    type: Literal["error"] = "error"
    error: Failure
