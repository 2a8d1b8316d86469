"""Function calling: the categories of BFCL v4 that are judged by comparing a single turn's calls with the right ones.

The data are in the wheel: pip download --no-deps bfcl-eval, then unpack bfcl_eval/data.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.metrics.calls import CALLS
from edgephi_evaluate.readers.json_lines import json_lines
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Suite

SYSTEM = "You are a helpful assistant with some tools."
_CATEGORIES = {
    "simple_python": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240,
    "live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24,
    "live_irrelevance": 884,
}  # fmt: skip


def _calls(row: Row, part: Part) -> Item | None:
    name = row.text("id")
    functions = json.loads(row.json_text("function"))
    turns = json.loads(row.json_text("question"))
    messages = turns[0] if turns and isinstance(turns[0], list) else turns
    said = [Turn(role=one["role"], text=one["content"]) for one in messages if one["role"] != "system"]
    system = next((one["content"] for one in messages if one["role"] == "system"), SYSTEM)
    return Item(
        id=name,
        turns=(Turn(role="system", text=system, tools=tools_text(functions)), *said),
        answers=() if "irrelevance" in part.name else (_possible(row.path, name),),
        group=name,
        part=part.name,
    )


def tools_text(functions: list[object]) -> str:
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
    summary="Function calls, single turn, Python: the non-live and live categories of BFCL v4",
    source="the wheel bfcl-eval, bfcl_eval/data; BFCL's check of Python calls",
    parts=tuple(Part(name=name, patterns=(f"BFCL_v4_{name}",), rows=rows) for name, rows in _CATEGORIES.items()),
    columns=("id", "question", "function"),
    build=_calls,
    prompt="<|system|>" + SYSTEM + "<|tool|>{functions}<|/tool|><|end|><|user|>{question}<|end|><|assistant|>",
    metric=CALLS,
    max_new_tokens=512,
    overall="mean",
    notes=(
        "70.3 of the model card is over more categories: Java, JavaScript, REST and multi-turn are not measured here",
        "functions stand between the markers as one JSON list, as the model card has them; the handler of BFCL writes "
        "them one a line",
    ),
)

SUITES = (BFCL,)
