"""Written questions with options: MMLU by the reply's letter, as MLPerf Client asks it.

The likelihood of " A" to " D", as lm-evaluation-harness measures, is `lm-eval:mmlu`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.metrics.texts import LETTER
from edgephi_evaluate.readers.rows import SUFFIXES, Row, read_rows
from edgephi_evaluate.suite import Part, Suite
from edgephi_evaluate.suites.builders import LETTERS, row_id
from edgephi_evaluate.suites.images import right_letter

SHOTS = 5
SYSTEM = (
    "The following are multiple choice questions about {subject}.\nAnswer the last question by selecting the correct "
    "option character, 'A', 'B', 'C' or 'D', do not add any other text.\n\n"
)


def question(text: str, choices: Sequence[str], answer: str | None) -> str:
    """One block: the question, its options, and its answer with an empty line behind it."""
    lines = [text, *(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False)), "Answer:"]
    return "\n".join(lines) + ("\n" if answer is None else f"\n{answer}\n\n")


def _mmlu(row: Row, part: Part) -> Item | None:
    subject = row.text("subject").replace("_", " ")
    shots = _shots(_dev_files(row.path)).get(subject, ())
    if len(shots) < SHOTS:
        raise ArtifactError(f"{row.path}: no {SHOTS} examples of {subject} in a file dev* beside it; add that split")
    name = row_id(row, part)
    text = "".join(shots[:SHOTS]) + question(row.text("question"), row.texts("choices"), None)
    return Item(
        id=name,
        turns=(Turn(role="system", text=SYSTEM.format(subject=subject)), Turn(role="user", text=text)),
        answers=(right_letter(row, len(row.texts("choices"))),),
        group=name,
        part=subject,
    )


def _dev_files(path: Path) -> tuple[Path, ...]:
    folders = (path.parent, path.parent.parent / "dev")
    return tuple(one for folder in folders for suffix in SUFFIXES for one in sorted(folder.glob(f"dev*{suffix}")))


@functools.lru_cache(maxsize=4)
def _shots(paths: tuple[Path, ...]) -> dict[str, tuple[str, ...]]:
    """The examples of each subject, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        for row in read_rows(path):
            subject, choices = row.text("subject").replace("_", " "), row.texts("choices")
            block = question(row.text("question"), choices, right_letter(row, len(choices)))
            found[subject] = (*found.get(subject, ()), block)
    return found


MMLU = Suite(
    name="mmlu",
    summary="Knowledge of 57 subjects, four options, five examples each",
    source="cais/mmlu (all); MLPerf Client tools/accuracy",
    parts=(Part(name="mmlu", patterns=("test*",), rows=14042),),
    columns=("question", "subject", "choices", "answer"),
    build=_mmlu,
    prompt=SYSTEM + "{five examples}{question}\nA) ..\nB) ..\nC) ..\nD) ..\nAnswer:\n",
    metric=LETTER,
    max_new_tokens=4,
    keeps_cache=True,
    notes=(
        "67.3 of the model card was measured with prompts that are not public",
        "the examples of a subject are read once: a reply may differ by rounding with the order of items",
    ),
)

SUITES = (MMLU,)
