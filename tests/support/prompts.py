"""Prompts of requests, as `Prefill` builds them."""

from __future__ import annotations

from typing import Any

from edgephi.prompt.prompt import Prompt, PromptBuilder
from edgephi.request import Request


def build_prompt(builder: PromptBuilder, messages: Any, **fields: Any) -> Prompt:
    """The prompt of a request with these messages and fields."""
    request = Request(messages, **fields)
    return builder.build(request.turns, request.tool_use.tools)
