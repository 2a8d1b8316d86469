"""How texts, errors and timings are shown: to people without anything a terminal would obey, to programs as JSON."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgephi.generation.reply import Reply
    from edgephi.generation.timing import Timing

# A model's text may hold any bytes; on a terminal, escape sequences would act.
_CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def printable(text: str) -> str:
    """The text without characters that a terminal would obey."""
    return text.translate(_CONTROL)


def shown(text: str) -> str:
    """The text as it goes to stdout: unchanged into a file or a pipe, printable on a terminal."""
    return printable(text) if sys.stdout.isatty() else text


def one_line(message: object) -> str:
    """The message on one line, whatever white space and control characters file names put into it."""
    return printable(" ".join(str(message).split()))


def error_line(message: object) -> str:
    """`error: ...` on one line."""
    return f"error: {one_line(message)}"


def note_line(message: object) -> str:
    """`note: ...` on one line."""
    return f"note: {one_line(message)}"


def timing_line(reply: Reply) -> str:
    """One line: `first token 0.12 s · 24 tokens · 85.3 tokens/s · prompt 145 tokens · vision adapter`."""
    timing = reply.timing
    parts = [f"first token {timing.ttft_s:.2f} s", f"{timing.new_tokens:,} token{'s' * (timing.new_tokens != 1)}"]
    if timing.decode_tok_s:
        parts.append(f"{timing.decode_tok_s:,.1f} tokens/s")
    cached = f" ({timing.cached_tokens:,} cached)" if timing.cached_tokens else ""
    adapter = [] if reply.adapter == "none" else [f"{reply.adapter} adapter"]
    return " · ".join([*parts, f"prompt {timing.prompt_tokens:,} tokens{cached}", *adapter])


def timing_json(timing: Timing) -> dict[str, Any]:
    """Every fact and both rates."""
    return {
        **dataclasses.asdict(timing),
        "decode_tok_s": timing.decode_tok_s,
        "prefill_tok_s": timing.prefill_tok_s,
    }


def reply_json(reply: Reply) -> dict[str, Any]:
    """A reply as one JSON object."""
    return {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "complete": reply.finish_reason != "cancelled",
        "tool_calls": [dataclasses.asdict(call) for call in reply.tool_calls],
        "token_ids": list(reply.token_ids),
        "timing": timing_json(reply.timing),
        "speculation": dataclasses.asdict(reply.speculation),
        "adapter": reply.adapter,
    }
