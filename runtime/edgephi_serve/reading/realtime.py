"""A session of live captions: what a client sends, and what the session is after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
from msgspec import UNSET

from edgephi.audio.pcm_stream import PcmFormat
from edgephi.base.errors import ConfigError
from edgephi.transcription.prompts import check_language
from edgephi.transcription.windows import LEAST_PAUSE_S, STARTS_AT, WindowRules
from edgephi_serve.errors import ApiError, invalid
from edgephi_serve.reading.bodies import convert, parse_json
from edgephi_serve.wire.realtime import (
    CLIENT_EVENTS,
    INCLUDE_LOGPROBS,
    INCLUDE_TAIL,
    AudioFormat,
    ClientEvent,
    EventHead,
    InputChange,
    NoiseReduction,
    SessionAudio,
    SessionBody,
    SessionChange,
    SessionInput,
    TranscriptionConfig,
    TurnDetection,
    new_id,
)

_PCM: Final = "audio/pcm"
_RATES_HZ = (24_000, 16_000, 8_000)
_ENCODINGS = {_PCM: "s16le", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}
_USUAL_FORMAT = AudioFormat(type=_PCM, rate=_RATES_HZ[0])
_TELEPHONE_HZ = 8_000
_INCLUDES = (INCLUDE_LOGPROBS, INCLUDE_TAIL)
_PAUSE_S, _MOST_PAUSE_S = 0.5, 10.0
#: An item is cut after so much speech; without detection of turns the model's own longest window is.
_DETECTED, _BY_HAND = WindowRules(window_s=20.0, pause_s=_PAUSE_S), WindowRules(pause_s=86_400.0)


class NotJsonError(ApiError):
    """A message that is no JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMessage:
    """One message of a client.

    Attributes:
        event: Its content.
        event_id: By which an answer may refer to it.
    """

    event: ClientEvent
    event_id: str | None


class BadMessageError(Exception):
    """A message that cannot be used.

    Args:
        error: Why.
        event_id: Of the message.
    """

    def __init__(self, error: ApiError, event_id: str | None = None) -> None:
        super().__init__(error.code)
        self.error = error
        self.event_id = event_id


def read_message(content: bytes) -> ClientMessage:
    """A message's event.

    Raises:
        BadMessageError: It is not JSON (its error is a NotJsonError), or no event of a transcription session.
    """
    try:
        raw = parse_json(content)
    except ApiError as error:
        raise BadMessageError(NotJsonError(400, error.kind, "invalid_json", error.message)) from None
    event_id = None
    try:
        head = convert(raw, EventHead)
        event_id = head.event_id
        kind = CLIENT_EVENTS.get(head.type)
        if kind is None:
            raise invalid(
                f"type is {head.type!r:.60}; a transcription session takes {', '.join(CLIENT_EVENTS)}.",
                param="type",
                code="unsupported_event",
            )
        return ClientMessage(event=convert(raw, kind), event_id=event_id)
    except ApiError as error:
        raise BadMessageError(error, event_id) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """A session's settings, as they are in effect.

    Attributes:
        model: Its name in answers.
        expires_at: When the session ends, in seconds since 1970.
        format: Of the audio.
        language: Spoken; only repeated.
        rules: Where an item ends by itself.
        is_by_hand: Whether it ends at `commit` only.
        include: What is sent besides.
        id: Of the session.
    """

    model: str
    expires_at: int
    format: AudioFormat = _USUAL_FORMAT
    language: str | None = None
    rules: WindowRules = _DETECTED
    is_by_hand: bool = False
    include: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: new_id("sess"))

    @property
    def pcm(self) -> PcmFormat:
        """The format as the decoder takes it."""
        return PcmFormat(encoding=_ENCODINGS[self.format.type], sample_rate_hz=self.format.rate or _RATES_HZ[0])

    @property
    def has_tail(self) -> bool:
        """Whether words are sent that may still change."""
        return INCLUDE_TAIL in self.include

    @property
    def has_logprobs(self) -> bool:
        """Whether the probabilities of tokens are sent."""
        return INCLUDE_LOGPROBS in self.include

    def takes_like(self, other: SessionState) -> bool:
        """Whether the same audio would be taken and cut in the same way."""
        return (self.format, self.rules) == (other.format, other.rules)

    def changed(self, change: SessionChange) -> SessionState:
        """The session after a change; what the change leaves out stays.

        Raises:
            ApiError: Something that cannot be, or that a user would miss; `param` is its path.
        """
        if change.type != "transcription":
            raise _unsupported("session.type", f"{change.type!r:.40} is not; use transcription")
        given = change.audio.input
        _check_noise_reduction(given.noise_reduction)
        state = self if given.format is UNSET else replace(self, format=_format(given.format))
        state = replace(state, language=_language(given, self.language), include=_include(change, self.include))
        detection = given.turn_detection
        if detection is UNSET:
            return state
        return replace(state, rules=_rules(detection), is_by_hand=detection is None)

    def body(self) -> SessionBody:
        """As the server describes it."""
        detection = None
        if not self.is_by_hand:
            detection = TurnDetection(
                threshold=STARTS_AT,
                prefix_padding_ms=round(self.rules.margin_s * 1000),
                silence_duration_ms=round(self.rules.pause_s * 1000),
            )
        transcription = TranscriptionConfig(model=self.model, language=self.language, prompt="")
        own = SessionInput(format=self.format, transcription=transcription, turn_detection=detection)
        return SessionBody(
            id=self.id, expires_at=self.expires_at, audio=SessionAudio(input=own), include=list(self.include)
        )


def _unsupported(param: str, why: str) -> ApiError:
    return invalid(f"{param}: {why}.", param=param, code="unsupported_parameter")


def _check_noise_reduction(given: NoiseReduction | msgspec.UnsetType | None) -> None:
    if isinstance(given, NoiseReduction):
        raise _unsupported("session.audio.input.noise_reduction", "not offered; leave it out, or use null")


def _format(given: AudioFormat | msgspec.UnsetType | None) -> AudioFormat:
    param = "session.audio.input.format.rate"
    if not isinstance(given, AudioFormat):
        return _USUAL_FORMAT
    rates = _RATES_HZ if given.type == _PCM else (_TELEPHONE_HZ,)
    rate = rates[0] if given.rate is None else given.rate
    if rate not in rates:
        raise invalid(f"{param} is {rate}; {given.type} takes {', '.join(map(str, rates))}.", param=param)
    return AudioFormat(type=given.type, rate=rate)


def _language(given: InputChange, before: str | None) -> str | None:
    if not isinstance(given.transcription, TranscriptionConfig):
        return before if given.transcription is UNSET else None
    param = "session.audio.input.transcription.language"
    try:
        check_language(given.transcription.language, param)
    except ConfigError as error:
        raise invalid(f"{error}.", param=param) from None
    return given.transcription.language


def _include(change: SessionChange, before: tuple[str, ...]) -> tuple[str, ...]:
    if change.include is UNSET:
        return before
    for one in change.include or ():
        if one not in _INCLUDES:
            raise invalid(f"session.include holds {one!r:.60}; use {' or '.join(_INCLUDES)}.", param="session.include")
    return tuple(one for one in _INCLUDES if one in (change.include or ()))


def _rules(given: TurnDetection | msgspec.UnsetType | None) -> WindowRules:
    param = "session.audio.input.turn_detection"
    if not isinstance(given, TurnDetection):
        return _BY_HAND
    if given.type != "server_vad":
        raise _unsupported(f"{param}.type", f"{given.type!r:.40} is not offered; use server_vad, or null for none")
    if given.silence_duration_ms is None:
        return _DETECTED
    pause_s = given.silence_duration_ms / 1000
    if not LEAST_PAUSE_S <= pause_s <= _MOST_PAUSE_S:
        raise invalid(
            f"{param}.silence_duration_ms is {given.silence_duration_ms}; use {LEAST_PAUSE_S * 1000:.0f} to "
            f"{_MOST_PAUSE_S * 1000:.0f}.",
            param=f"{param}.silence_duration_ms",
        )
    return replace(_DETECTED, pause_s=pause_s)
