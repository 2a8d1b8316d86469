"""The tools of the demo home: their descriptions, and the answer that calls one."""

from __future__ import annotations

import json
import random

from edgephi_nano.sentences import Command
from edgephi_nano.tokenizer import ASSISTANT, CALL, CALL_STOP, END, SYSTEM, TOOL, TOOL_STOP, USER

SYSTEM_TEXT = "You are a home assistant."

_PLACE = {"device": "string", "room": "string"}
PARAMETERS: dict[str, dict[str, str]] = {
    "turn_on": _PLACE,
    "turn_off": _PLACE,
    "open": _PLACE,
    "close": _PLACE,
    "lock": _PLACE,
    "start": _PLACE,
    "stop": _PLACE,
    "play": _PLACE,
    "set_heater": {"room": "string", "degrees": "integer"},
    "dim": {"device": "string", "room": "string", "percent": "integer"},
    "set_timer": {"minutes": "integer"},
}


def tools_json(names: list[str]) -> str:
    """The `tools` field of a system message offering these tools, in this order."""
    return json.dumps([{"name": name, "parameters": PARAMETERS[name]} for name in names])


def some_tools(rng: random.Random, needed: str, count: int) -> list[str]:
    """`count` tool names in random order, `needed` among them."""
    others = rng.sample([name for name in PARAMETERS if name != needed], count - 1)
    names = [needed, *others]
    rng.shuffle(names)
    return names


def tool_prompt(text: str, names: list[str]) -> str:
    """The whole prompt of a request with tools, ready for the tokenizer."""
    return f"{SYSTEM}{SYSTEM_TEXT}{TOOL}{tools_json(names)}{TOOL_STOP}{END}{USER}{text}{END}{ASSISTANT}"


def tool_answer(command: Command) -> str:
    """What the model answers, without the final end token."""
    return f"{CALL}{json.dumps([{'name': command.name, 'arguments': command.arguments}])}{CALL_STOP}"
