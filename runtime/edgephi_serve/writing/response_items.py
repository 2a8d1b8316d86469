"""The items of a response while they are made: messages and calls, with their events."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator

from edgephi_serve.wire.answers import CallDelta, TokenLogprob
from edgephi_serve.wire.response_answers import (
    CallArgumentsDelta,
    CallArgumentsDone,
    CallItem,
    ContentPartAdded,
    ContentPartDone,
    ItemStatus,
    MessageItem,
    OutputItem,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ResponseEvent,
    TextPart,
)


class ItemWriter:
    """Adds text and calls to the items of one response.

    Attributes:
        done: Complete items, in order.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._message: MessageItem | None = None  # begun and not complete
        self.done: list[OutputItem] = []

    def next_number(self) -> int:
        """Of the next event."""
        return next(self._numbers)

    def add_text(self, text: str, logprobs: list[TokenLogprob]) -> Iterator[ResponseEvent]:
        """More words of the message, which begins with its first ones."""
        if self._message is None:
            yield from self._begin_message()
        if self._message is None or not text:
            return
        part = self._message.content[0]
        part.text += text
        part.logprobs.extend(logprobs)
        yield OutputTextDelta(
            sequence_number=self.next_number(),
            output_index=len(self.done),
            item_id=self._message.id,
            delta=text,
            logprobs=logprobs,
        )

    def add_call(self, call: CallDelta) -> Iterator[ResponseEvent]:
        """A whole call, which ends the message before it."""
        yield from self._end_message("completed")
        at, item_id, function = len(self.done), f"fc_{secrets.token_hex(16)}", call.function
        begun = CallItem(id=item_id, call_id=call.id, name=function.name, arguments="", status="in_progress")
        yield OutputItemAdded(sequence_number=self.next_number(), output_index=at, item=begun)
        yield CallArgumentsDelta(
            sequence_number=self.next_number(), output_index=at, item_id=item_id, delta=function.arguments
        )
        yield CallArgumentsDone(
            sequence_number=self.next_number(),
            output_index=at,
            item_id=item_id,
            name=function.name,
            arguments=function.arguments,
        )
        item = CallItem(
            id=item_id, call_id=call.id, name=function.name, arguments=function.arguments, status="completed"
        )
        self.done.append(item)
        yield OutputItemDone(sequence_number=self.next_number(), output_index=at, item=item)

    def end(self, logprobs: list[TokenLogprob], *, is_cut: bool) -> Iterator[ResponseEvent]:
        """The reply is done; one that says nothing is an empty message.

        Args:
            logprobs: Of tokens that wrote nothing after the last words.
            is_cut: Whether the last message was cut.
        """
        if self._message is None and not self.done:
            yield from self._begin_message()
        if self._message is not None:
            self._message.content[0].logprobs.extend(logprobs)
        yield from self._end_message("incomplete" if is_cut else "completed")

    def _begin_message(self) -> Iterator[ResponseEvent]:
        item_id, at = f"msg_{secrets.token_hex(16)}", len(self.done)
        begun = MessageItem(id=item_id, status="in_progress", content=[])
        yield OutputItemAdded(sequence_number=self.next_number(), output_index=at, item=begun)
        self._message = MessageItem(id=item_id, status="in_progress", content=[TextPart(text="")])
        yield ContentPartAdded(
            sequence_number=self.next_number(), output_index=at, item_id=item_id, part=TextPart(text="")
        )

    def _end_message(self, status: ItemStatus) -> Iterator[ResponseEvent]:
        item, self._message = self._message, None
        if item is None:
            return
        item.status, part, at = status, item.content[0], len(self.done)
        yield OutputTextDone(
            sequence_number=self.next_number(),
            output_index=at,
            item_id=item.id,
            text=part.text,
            logprobs=part.logprobs,
        )
        yield ContentPartDone(sequence_number=self.next_number(), output_index=at, item_id=item.id, part=part)
        self.done.append(item)
        yield OutputItemDone(sequence_number=self.next_number(), output_index=at, item=item)
