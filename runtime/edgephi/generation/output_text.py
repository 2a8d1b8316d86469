"""The text of one reply while it is made: what is shown, where it stops, and what lies between tool-call markers."""

from __future__ import annotations

from edgephi.generation.detokenizer import TextStream
from edgephi.generation.reply import ToolCallEvent
from edgephi.generation.stop_strings import StopStrings
from edgephi.generation.tool_calls import ToolCall, parse_tool_calls
from edgephi.prompt.template_view import TOOL_CALL, TOOL_CALL_END
from edgephi.prompt.tokenizer import Tokenizer


class ReplyText:
    """Grows by one token at a time.

    Args:
        tokenizer: Of the model.
        stops: Texts that end the reply.
    """

    def __init__(self, tokenizer: Tokenizer, stops: tuple[str, ...]) -> None:
        self._stream = TextStream(tokenizer)
        self._stops = StopStrings(stops)
        self.is_stopped = False
        self._tokenizer = tokenizer
        self._open, self._close = (tokenizer.control.get(name) for name in (TOOL_CALL, TOOL_CALL_END))
        self._pieces: list[str] = []
        self._call_ids: list[int] | None = None
        self._call_text = ""
        self._calls: list[ToolCall] = []
        self._fresh: list[ToolCallEvent] = []

    @property
    def text(self) -> str:
        """Everything shown so far."""
        return "".join(self._pieces)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that are complete, in order."""
        return tuple(self._calls)

    def push(self, token_id: int) -> str:
        """The words that a token completes and that can be shown now; `is_stopped` says whether it was the last."""
        if self._open is not None and token_id == self._open.id:
            words = self._end_segment()
            self._call_ids = []
            return words
        if self._close is not None and token_id == self._close.id:
            return self._end_segment()
        if self._call_ids is not None:
            self._call_ids.append(token_id)
        return self._keep(self._until_stop(self._stream.feed(token_id)))

    def finish(self) -> str:
        """The reply has ended: the words that were held back. A call that was left open is complete now."""
        words = self._keep(self._until_stop(self._stream.flush()))
        return words + self._end_segment()

    def take_calls(self) -> list[ToolCallEvent]:
        """The calls that were completed since this was asked last."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _until_stop(self, text: str) -> str:
        text, self.is_stopped = self._stops.feed(text)
        return text

    def _keep(self, text: str) -> str:
        """Add to the reply's text; what of it are words."""
        if text:
            self._pieces.append(text)
        if self._call_ids is None:
            return text
        self._call_text += text
        return ""

    def _end_segment(self) -> str:
        """A marker came or the reply ended: no stop string goes on from here, and a call that was open is complete."""
        words = self._keep(self._stops.flush())
        if self._call_ids is not None:
            calls = parse_tool_calls(self._tokenizer.decode(self._call_ids))
            self._calls += calls
            self._fresh.append(ToolCallEvent(self._call_text, calls))
            self._call_ids, self._call_text = None, ""
        return words
