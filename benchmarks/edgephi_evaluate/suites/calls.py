"""Function calling: the categories of BFCL v4 that are judged by comparing a single turn's calls with the right ones.

The data are in the wheel: pip download --no-deps bfcl-eval, then unpack bfcl_eval/data.
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.metrics.calls import CALLS
from edgephi_evaluate.readers.json_lines import json_lines
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Suite

SYSTEM = "You are a helpful assistant with some tools."
_CATEGORIES = {
    "simple_python": 400, "simple_java": 100, "simple_javascript": 50,
    "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240,
    "live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24,
    "live_irrelevance": 884,
}  # fmt: skip


#: Categories without a check of single replies, and why.
NOT_MEASURED = {
    "bfcl-multi-turn": "its check runs the program code of eight simulated services from the wheel after every reply",
    "bfcl-memory": "its check runs a store of the wheel's own over several conversations",
    "bfcl-web-search": "it asks a search engine in the network",
    "bfcl-format-sensitivity": "it asks in 26 forms of prompts that Phi-4's template does not have",
}
#: What the harness tells the model of a language, in the descriptions of functions and of their arguments.
_LANGUAGES = {"simple_java": ("Java 8 SDK", "Java"), "simple_javascript": ("JavaScript", "JavaScript")}


def _calls(row: Row, part: Part) -> Item | None:
    name = row.text("id")
    functions = json.loads(row.json_text("function"))
    turns = json.loads(row.json_text("question"))
    messages = turns[0] if turns and isinstance(turns[0], list) else turns
    said = [Turn(role=one["role"], text=one["content"]) for one in messages if one["role"] != "system"]
    system = next((one["content"] for one in messages if one["role"] == "system"), SYSTEM)
    answers = () if "irrelevance" in part.name else (_possible(row.path, name),)
    if part.name in _LANGUAGES:  # the model is told another type than the check goes by
        answers = (*answers, tools_text(functions))
    offered = described(functions, *_LANGUAGES.get(part.name, ("Python 3", "")))
    return Item(
        id=name,
        turns=(Turn(role="system", text=system, tools=tools_text(offered)), *said),
        answers=answers,
        group=name,
        part=part.name,
    )


def described(functions: list[dict[str, Any]], syntax: str, language: str) -> list[dict[str, Any]]:
    """The functions as the harness offers them.

    Args:
        functions: As the data declare them.
        syntax: Added to the description of each.
        language: Of source that every argument is to be written in, as a text; empty for JSON.
    """
    made = copy.deepcopy(functions)
    for function in made:
        function["description"] += f" Note that the provided function is in {syntax} syntax."
        for argument in function["parameters"]["properties"].values() if language else ():
            argument["description"] += _source_hint(argument, language)
            argument.pop("items", None)
            argument.pop("properties", None) if argument["type"] == "dict" else None
            argument["type"] = "string"
    return made


def _source_hint(argument: dict[str, Any], language: str) -> str:
    kind = argument["type"]
    if kind == "any":
        return f" This parameter can be of any type of {language} object in string representation."
    hint = f" This is {language} {kind} type parameter in string representation."
    if kind in ("Array", "ArrayList", "array"):
        hint += f" The list elements are of type {argument['items']['type']}; they are not in string representation."
    if kind == "dict" and "properties" in argument:
        schema = json.dumps(argument["properties"])
        hint += f" The dictionary entries have the following schema; they are not in string representation. {schema}"
    return hint


def tools_text(functions: list[dict[str, Any]]) -> str:
    """The functions as a JSON list, which the runtime writes between the tool markers."""
    return json.dumps(functions, ensure_ascii=False)


def _possible(path: Path, name: str) -> str:
    answers = _possible_answers(path.parent / "possible_answer" / path.name)
    if name not in answers:
        raise ArtifactError(f"{path}: no right call for {name} in possible_answer/{path.name}; unpack the whole wheel")
    return answers[name]


@functools.lru_cache(maxsize=16)
def _possible_answers(path: Path) -> dict[str, str]:
    return {str(one["id"]): json.dumps(one["ground_truth"]) for one in json_lines(path)}


BFCL = Suite(
    name="bfcl",
    summary="Function calls, single turn: the non-live and live categories of BFCL v4",
    source="the wheel bfcl-eval, bfcl_eval/data; BFCL's check of calls",
    version=2,
    parts=tuple(Part(name=name, patterns=(f"BFCL_v4_{name}",), rows=rows) for name, rows in _CATEGORIES.items()),
    columns=("id", "question", "function"),
    build=_calls,
    prompt="<|system|>" + SYSTEM + "<|tool|>{functions}<|/tool|><|end|><|user|>{question}<|end|><|assistant|>",
    metric=CALLS,
    max_new_tokens=512,
    overall="mean",
    notes=(
        "70.3 of the model card is of an earlier BFCL, over other categories: it is not to be compared",
        "multi-turn, memory, web search and format sensitivity are not measured here",
        "functions stand between the markers as one JSON list, as the model card has them; the handler of BFCL writes "
        "them one a line",
    ),
)

SUITES = (BFCL,)
