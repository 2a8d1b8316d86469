"""What happens in a session of live captions as the events that its client gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec import UNSET

from edgephi import Choice
from edgephi.transcription.live.captions import FinalCaption, LostCaption, PartialCaption
from edgephi.transcription.live.settling import words_behind
from edgephi_serve.errors import ApiError, as_api_error
from edgephi_serve.reading.realtime import SessionState
from edgephi_serve.wire.audio import DurationUsage, SpokenLogprob
from edgephi_serve.wire.realtime import (
    AudioCleared,
    AudioCommitted,
    ErrorEvent,
    Failure,
    Item,
    ItemAdded,
    ItemDone,
    ServerEvent,
    SpeechStarted,
    SpeechStopped,
    Tail,
    TranscriptCompleted,
    TranscriptDelta,
    TranscriptFailed,
    new_id,
)
from edgephi_serve.writing.transcript import logprobs_of


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """An utterance begins.

    Attributes:
        number: Of the utterance.
        start_s: From the beginning of the session's audio.
    """

    number: int
    start_s: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """An utterance has ended.

    Attributes:
        number: Of the utterance.
        end_s: From the beginning of the session's audio.
        length_s: Of its audio.
    """

    number: int
    end_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class CommittedByHand:
    """The client has ended the item, or silence became one."""


@dataclass(frozen=True, slots=True)
class FinalText:
    """An utterance's caption, and the tokens of its text."""

    caption: FinalCaption
    choices: tuple[Choice, ...]


Happening = SpeechBegan | SpeechEnded | CommittedByHand | PartialCaption | FinalText | LostCaption | ServerEvent


@dataclass(slots=True, eq=False)
class _Item:
    """An item on its way.

    Attributes:
        id: Of the item.
        texts: Of its utterances so far.
        settled: Words of the utterance that goes on, which the client has.
        num_open: Utterances that have ended and wait for their text.
        is_committed: Whether it gets no more utterances.
        length_s: Of its audio.
        logprobs: Of all its tokens.
    """

    id: str = field(default_factory=lambda: new_id("item"))
    texts: list[str] = field(default_factory=list)
    settled: str = ""
    num_open: int = 0
    is_committed: bool = False
    length_s: float = 0.0
    logprobs: list[SpokenLogprob] = field(default_factory=list)


class RealtimeWriter:
    """Events in the order of what happens. Items that are cleared or have failed get no more of them.

    Args:
        state: Of the session.
        token_bytes: Of a token id.

    Attributes:
        state: Of the session; may be set to another.
    """

    def __init__(self, state: SessionState, token_bytes: Callable[[int], bytes]) -> None:
        self.state = state
        self._token_bytes = token_bytes
        self._items: dict[int, _Item] = {}  # by the numbers of their utterances
        self._open: _Item | None = None
        self._last_id: str | None = None

    def events(self, happening: Happening) -> Iterator[ServerEvent]:
        """The events of one thing that happened."""
        match happening:
            case SpeechBegan():
                yield from self._begin(happening)
            case SpeechEnded():
                yield from self._end(happening)
            case CommittedByHand():
                yield from self._commit(self._opened())
            case PartialCaption():
                yield from self._partial(happening)
            case FinalText():
                yield from self._final(happening)
            case LostCaption():
                yield from self._lost(happening)
            case _:
                if isinstance(happening, AudioCleared):
                    self._clear()
                yield happening

    def _opened(self) -> _Item:
        self._open = self._open or _Item()
        return self._open

    def _begin(self, began: SpeechBegan) -> Iterator[ServerEvent]:
        item = self._items[began.number] = self._opened()
        if not self.state.is_by_hand:
            yield SpeechStarted(audio_start_ms=_ms(began.start_s), item_id=item.id)

    def _end(self, ended: SpeechEnded) -> Iterator[ServerEvent]:
        item = self._items.get(ended.number)
        if item is None:
            return
        item.num_open += 1
        item.length_s += ended.length_s
        if not self.state.is_by_hand:
            yield SpeechStopped(audio_end_ms=_ms(ended.end_s), item_id=item.id)
            yield from self._commit(item)

    def _commit(self, item: _Item) -> Iterator[ServerEvent]:
        before, self._last_id, self._open = self._last_id, item.id, None
        item.is_committed = True
        yield AudioCommitted(item_id=item.id, previous_item_id=before)
        yield ItemAdded(previous_item_id=before, item=Item(id=item.id))
        yield ItemDone(previous_item_id=before, item=Item(id=item.id))
        yield from self._completed(item)

    def _partial(self, partial: PartialCaption) -> Iterator[ServerEvent]:
        item = self._items.get(partial.number)
        if item is None:
            return
        yield from self._delta(item, partial.added)
        if self.state.has_tail:
            yield Tail(item_id=item.id, text=partial.tail, lag_s=round(partial.lag_s, 3))

    def _final(self, final: FinalText) -> Iterator[ServerEvent]:
        """The words that no partial caption has settled, unless the final one takes back some that were."""
        caption = final.caption
        item = self._items.pop(caption.number, None)
        if item is None:
            return
        yield from self._delta(item, words_behind(item.settled, caption.text))
        item.texts += filter(None, [caption.text])
        item.settled = ""
        item.num_open -= 1
        if self.state.has_logprobs:
            item.logprobs += logprobs_of(final.choices, self._token_bytes)
        yield from self._completed(item)

    def _delta(self, item: _Item, added: str) -> Iterator[ServerEvent]:
        if added:
            space = " " if item.texts and not item.settled else ""
            item.settled += added
            yield TranscriptDelta(item_id=item.id, delta=space + added)

    def _completed(self, item: _Item) -> Iterator[ServerEvent]:
        if not item.is_committed or item.num_open:
            return
        yield TranscriptCompleted(
            item_id=item.id,
            transcript=" ".join(item.texts),
            usage=DurationUsage(seconds=round(item.length_s, 3)),
            logprobs=item.logprobs if self.state.has_logprobs else UNSET,
        )

    def _lost(self, lost: LostCaption) -> Iterator[ServerEvent]:
        item = self._items.get(lost.number)
        if item is None:
            return
        self._items = {number: one for number, one in self._items.items() if one is not item}
        if self._open is item:
            self._open = None
        message = "The machine is too far behind; this speech was left out."
        overloaded = ApiError(503, "server_error", "overloaded", message)
        error = overloaded if lost.error is None else as_api_error(lost.error)
        yield TranscriptFailed(item_id=item.id, error=failure(error))

    def _clear(self) -> None:
        self._open = None
        self._items = {number: item for number, item in self._items.items() if item.is_committed}


def failure(error: ApiError) -> Failure:
    """An error as an event holds it."""
    return Failure(type=error.kind, code=error.code, message=error.message, param=error.param)


def error_event(error: ApiError, event_id: str | None = None) -> ErrorEvent:
    """An error, with the id of the client's event that caused it."""
    body = failure(error)
    body.event_id = event_id
    return ErrorEvent(error=body)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
