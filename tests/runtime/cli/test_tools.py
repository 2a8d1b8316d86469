"""`--tools`: a command becomes a call, its result an answer, and a file that offers nothing is said to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from support.bundles import nano_bundle, small_bundle
from support.shell import invoke

LAMP = {"name": "lamp", "description": "Turns it on — or off.", "parameters": {"on": "boolean"}}
DOOR = {"name": "door", "parameters": {}}
OPTIONS = ("--max-new-tokens", 6, "--threads", 1)


def _file(folder: Path, content: object, encoding: str = "utf-8") -> Path:
    path = folder / "tools.json"
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_model_is_offered_what_the_file_holds(system: str | None, tmp_path: Path):
    plain = [LAMP, DOOR]
    with Model.load(small_bundle(), threads=1) as model:
        turn = {"role": "system", "content": system or "", "tools": plain}
        messages = [turn, {"role": "user", "content": "hello"}]
        expected = model.generate(messages, options=SamplingOptions(max_new_tokens=6))
        without = model.generate("hello", options=SamplingOptions(max_new_tokens=6))
    assert expected.timing.prompt_tokens > without.timing.prompt_tokens
    given = () if system is None else ("--system", system)
    wrapped = [{"type": "function", "function": tool} for tool in plain]
    for content, encoding in ((plain, "utf-8"), (wrapped, "utf-8"), (plain, "utf-8-sig")):
        path = _file(tmp_path, content, encoding)
        done = invoke("run", small_bundle(), "hello", "--tools", path, *given, *OPTIONS, "--json")
        assert tuple(json.loads(done.stdout)["token_ids"]) == expected.token_ids
        chat = invoke("chat", small_bundle(), "--tools", path, *given, *OPTIONS, stdin="hello\n")
        assert chat.stdout == expected.text + "\n"


BAD: list[tuple[object, str]] = [
    ("[{", "not valid JSON"),
    ("[" * 200_000, "not valid JSON"),
    ([], "holds no list of functions"),
    ("7", "holds no list of functions"),
    ([LAMP, 7], "function 2 has no name"),
    ([{"parameters": {}}], "function 1 has no name"),
    ([{"type": "function", "function": {"name": ""}}], "function 1 has no name"),
    ([LAMP, {"type": "function", "function": LAMP}], "'lamp' is there twice"),
]


@pytest.mark.parametrize(("content", "said"), BAD, ids=[said for _, said in BAD])
@pytest.mark.parametrize("command", [("run", "hello"), ("chat",)], ids=" ".join)
def test_a_file_that_offers_nothing_is_refused_in_one_line(
    command: tuple[str, ...], content: object, said: str, tmp_path: Path
):
    path = _file(tmp_path, content)
    done = invoke(command[0], "nowhere", *command[1:], "--tools", path)  # before a model is looked for
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert str(path) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"\xff\xfe{", None])
def test_a_file_that_cannot_be_read_is_refused(content: bytes | None, tmp_path: Path):
    path = tmp_path / "tools.json"
    if content is not None:
        path.write_bytes(content)
    done = invoke("run", "nowhere", "hello", "--tools", path)
    assert done.exit_code == 2
    assert ("not UTF-8" if content else "No such file") in done.stderr


def test_a_chats_call_is_kept_as_a_call_and_its_result_is_sent(tmp_path: Path):
    """Sent back as plain text, a call is something the model never said."""
    heater = {"name": "set_heater", "parameters": {"room": "string", "degrees": "integer"}}
    saved = tmp_path / "talk.json"
    lines = "now set the office heater to twelve degrees\n/result done\nthank you\n" + f"/save {saved}\n"
    path = _file(tmp_path, [heater])
    done = invoke("chat", nano_bundle(), "--system", "You are a home assistant.", "--tools", path, stdin=lines)
    assert done.exit_code == 0, done.stderr
    assert "(calls set_heater; /result TEXT answers it)" in done.stderr
    messages: list[dict[str, Any]] = json.loads(saved.read_text(encoding="utf-8"))
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert messages[0]["tools"] == [heater]
    assert messages[2]["tool_calls"] == [{"name": "set_heater", "arguments": {"room": "office", "degrees": 12}}]
    assert messages[3]["content"] == "done"
    with Model.load(nano_bundle()) as model:
        model.generate(messages, options=SamplingOptions(max_new_tokens=2))  # what was saved can be sent


@pytest.mark.parametrize("line", ["/result done", "hello\n/result done", "/result"])
def test_a_result_without_a_call_is_refused(line: str):
    done = invoke("chat", small_bundle(), *OPTIONS, stdin=f"{line}\n")
    assert done.exit_code == 2
    assert "has called no function" in done.stderr
