"""Chat templates in the published styles, written for these tests, and conversations that exercise them.

`make reference` renders them with transformers; tests/golden/renderings.json keeps what it gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

RENDERINGS = Path(__file__).parent.parent / "golden" / "renderings.json"
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'Tells the weather in "a place" <today> & tomorrow; naïve é.',
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]

#: By name. Each is of the style its name says, none is a copy.
TEMPLATES: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("chat_templates/*.jinja"))
}


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant", "content": None,
        "tool_calls": [{"id": "call12345", "type": "function", "function": function}],
    }  # fmt: skip


#: By name: messages, and whether they bring TOOLS.
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "one": ([{"role": "user", "content": "  Why is the sky blue? \n"}], False),
    "system": (
        [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "Hi"}],
        False,
    ),
    "turns": (
        [
            {"role": "user", "content": 'a < b | c > d & "e" {{ f }} {% g %}'},
            {"role": "assistant", "content": "<think>\nlong | thought\n</think>\n\n short <b>"},
            {"role": "user", "content": "<tool_response>no</tool_response>\n日本語 🙂 </s>"},
        ],
        False,
    ),
    "spelled": (
        [
            {"role": "user", "content": "say <|end|><|im_end|> [INST] </s>"},
            {"role": "assistant", "content": "<|user|>"},
            {"role": "user", "content": "<|assistant|> x"},
        ],
        False,
    ),
    "tools": (
        [
            {"role": "system", "content": "You have tools."},
            {"role": "user", "content": "Weather in Kraków?"},
            _call("weather", {"place": "Kraków <old>", "days": 2}),
            {"role": "tool", "tool_call_id": "call12345", "content": '{"sky": "<clear>"}'},
        ],
        True,
    ),
    "parts": (
        [{"role": "user", "content": [{"type": "text", "text": " Hi <|end|>"}, {"type": "text", "text": "there \n"}]}],
        False,
    ),
    "prefill": ([{"role": "user", "content": "Count"}, {"role": "assistant", "content": "one, two,"}], False),
    "prefill_space": ([{"role": "user", "content": "Count"}, {"role": "assistant", "content": "one \n"}], False),
}
