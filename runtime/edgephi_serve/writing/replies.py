"""One reply of chat.completions while it is made: its pieces, and in the end its whole message."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from edgephi import Choice, Event, Reply, TextEvent, TokenEvent, ToolCallEvent
from edgephi_serve.wire.answers import (
    Call,
    CallDelta,
    Delta,
    FinishReason,
    Function,
    Logprobs,
    TokenLogprob,
    TopLogprob,
)

TokenBytes = Callable[[int], bytes]


class ReplyWriter:
    """Turns events into deltas and keeps what they add up to.

    Args:
        token_bytes: What a token writes; None when log-probabilities were not asked for.
        has_parallel_calls: Whether more than one call may be given.

    Attributes:
        calls: Complete ones, in order.
        reply: Once it is done.
    """

    def __init__(self, token_bytes: TokenBytes | None, *, has_parallel_calls: bool) -> None:
        self._token_bytes = token_bytes
        self._most_calls = None if has_parallel_calls else 1
        self._texts: list[str] = []
        self._fresh: list[TokenLogprob] = []
        self._logprobs: list[TokenLogprob] = []
        self.calls: list[Call] = []
        self.reply: Reply | None = None

    @property
    def content(self) -> str | None:
        """The words; None for a reply of calls only."""
        text = "".join(self._texts)
        return text if text or not self.calls else None

    @property
    def logprobs(self) -> Logprobs | None:
        """Of all tokens so far."""
        return None if self._token_bytes is None else Logprobs(content=self._logprobs)

    @property
    def has_enough(self) -> bool:
        """Whether nothing that may come could still be given."""
        return self._most_calls is not None and len(self.calls) >= self._most_calls

    @property
    def finish_reason(self) -> FinishReason:
        """`length` also where a reply was cut by its time."""
        if self.reply is not None and self.reply.finish_reason != "stop" and not self.has_enough:
            return "length"
        return "tool_calls" if self.calls else "stop"

    def deltas(self, event: Event) -> list[tuple[Delta, Logprobs | None]]:
        """The pieces of the answer for an event; none for most tokens."""
        match event:
            case TokenEvent():
                self._note(event.choice)
                return []
            case TextEvent():
                return [(self._words(event.text), self._take_logprobs())]
            case ToolCallEvent():
                return [(delta, self._take_logprobs()) for delta in self._calls(event)]
            case _:
                self.reply = event.reply
                return []

    def last_logprobs(self) -> Logprobs | None:
        """Of tokens that wrote nothing after the last piece, such as the one that ends the reply."""
        return self._take_logprobs()

    def _words(self, text: str) -> Delta:
        self._texts.append(text)
        return Delta(content=text)

    def _calls(self, event: ToolCallEvent) -> list[Delta]:
        good = [call for call in event.calls if call.error is None]
        if not good:  # what is no call is text of the reply
            return [self._words(event.text)]
        deltas = []
        for call in good:
            if self.has_enough:
                break
            function = Function(name=call.name, arguments=json.dumps(call.arguments, ensure_ascii=False))
            made = Call(id=f"call_{secrets.token_hex(12)}", function=function)
            self.calls.append(made)
            deltas.append(Delta(tool_calls=[CallDelta(index=len(self.calls) - 1, id=made.id, function=function)]))
        return deltas + [self._words(call.text) for call in event.calls if call.error is not None]

    def _note(self, choice: Choice) -> None:
        if self._token_bytes is None or choice.logprob is None:
            return
        top = [TopLogprob(**self._token(token_id), logprob=logprob) for token_id, logprob in choice.top]  # type: ignore[arg-type]
        noted = TokenLogprob(**self._token(choice.token_id), logprob=choice.logprob, top_logprobs=top)  # type: ignore[arg-type]
        self._fresh.append(noted)
        self._logprobs.append(noted)

    def _token(self, token_id: int) -> dict[str, str | list[int]]:
        content = b"" if self._token_bytes is None else self._token_bytes(token_id)
        return {"token": content.decode("utf-8", "replace"), "bytes": list(content)}

    def _take_logprobs(self) -> Logprobs | None:
        if self._token_bytes is None:
            return None
        taken, self._fresh = self._fresh, []
        return Logprobs(content=taken)
