"""Data and engines for tests of `edgephi evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.evaluation import Evaluation, evaluate, load_suites
from edgephi_evaluate.runs.identity import EngineIdentity
from edgephi_evaluate.suites.registry import Selection

SUITE = "items:wer-raw"


class ScriptedEngine:
    """Answers with the first right answer, changed by a function of the item's number.

    Args:
        change: Of the answer; an error stands for an item that fails.
        model: What it says it is.
    """

    def __init__(self, change: Callable[[int, str], str] = lambda number, text: text, model: str = "m") -> None:
        self.asked: list[str] = []
        self._change = change
        self.identity = EngineIdentity(name="scripted", version="1", model=model)

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        self.asked.append(item.id)
        text = self._change(int(item.id), item.answers[0])
        if text == "fail":
            raise ConfigError(f"item {item.id}\nfails")
        seconds = Seconds(total=0.5, decode=0.25)
        return Answer(text=text, marked_text=text, new_tokens=6, seconds=seconds, peak_rss_bytes=1000)


def write_items(folder: Path, count: int = 40) -> Path:
    """Items of four words, in groups of two and two parts; some are longer."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "id": str(number),
            "prompt": "say " * (1 + number % 7),
            "answers": [f"word{number} b c d"],
            "group": str(number // 2),
            "part": "ab"[number % 2],
        }
        for number in range(count)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return folder


def run(engine: ScriptedEngine, data: Path, folder: Path, suite: str = SUITE, **selection: int) -> Path:
    """Ask all items of a folder."""
    chosen = Selection(**selection)
    wanted = Evaluation(engine=engine, run=folder, selection=chosen, command=("edgephi", "evaluate"))
    evaluate(wanted, load_suites((suite,), data, chosen), lambda step: None)
    return folder
