"""Questions about images: AI2D, ChartQA, DocVQA, InfoVQA, OCRBench and TextVQA as lmms-eval asks and judges them.

Where VLMEvalKit asks otherwise, the same set is there a second time under a name that ends in -vlmevalkit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share
from edgephi_evaluate.metrics.texts import ANLS, CHOICE, OCRBENCH, RELAXED
from edgephi_evaluate.metrics.vqa import VQA
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Published, Suite
from edgephi_evaluate.suites.builders import LETTERS, item

CARD = "model card of Phi-4-multimodal-instruct, February 2025"
SHORT = "\nAnswer the question using a single word or phrase."
WORD = "\nAnswer the question with a single word."
LETTER = "\nAnswer with the option's letter from the given choices directly."
SELECT = "\nPlease select the correct answer from the options above. \n"
_JUDGE = "a reply that names no option counts as wrong; the harness would ask a language model what was meant"


def options(row: Row) -> tuple[str, ...]:
    """A question's options, from a list or from the columns A, B, C and D."""
    return row.texts("options") if row.has("options") else tuple(row.text(one) for one in LETTERS[:4] if row.has(one))


def right_letter(row: Row, count: int) -> str:
    """The letter of the right option, which the data give as a letter or as a number from 0.

    Raises:
        ArtifactError: It is neither.
    """
    answer = row.text("answer").strip()
    letter = LETTERS[int(answer)] if answer.isdigit() and int(answer) < count else answer
    if letter not in tuple(LETTERS[:count]):
        raise ArtifactError(
            f"{row.where}: answer is {answer!r}, and there are {count} options; give its number or letter"
        )
    return letter


def lettered(texts: Sequence[str]) -> str:
    """`A. first` and so on, a line each."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))


def _grouped(made: Item, row: Row) -> Item:
    """Questions about one image are drawn together."""
    name = row.optional("image_id", "docId", "ucsf_document_id", "imgname", "image_path", "dataset_image_id")
    return dataclasses.replace(made, group=f"{made.part}/{name}") if name else made


def _ai2d(row: Row, part: Part) -> Item | None:
    choices = options(row)
    text = f"{row.text('question')}\n{lettered(choices)}{LETTER}"
    return _grouped(item(row, part, text, (right_letter(row, len(choices)),), (row.media("image"), ())), row)


def _ai2d_vlmevalkit(row: Row, part: Part) -> Item | None:
    choices = options(row)
    text = f"Question: {row.text('question')}\nOptions:\n{lettered(choices)}{SELECT}"
    return _grouped(item(row, part, text, (right_letter(row, len(choices)),), (row.media("image"), ())), row)


def _chartqa(row: Row, part: Part) -> Item | None:
    return _chart(row, part, WORD)


def _chartqa_vlmevalkit(row: Row, part: Part) -> Item | None:
    return _chart(row, part, SHORT)


def _chart(row: Row, part: Part, ending: str) -> Item | None:
    kind = row.optional("type", "human_or_machine", "split")
    name = "human" if "human" in kind or kind == "0" else "augmented" if kind else part.name
    made = item(row, part, f"{row.text('question', 'query')}{ending}", _answers(row), (row.media("image"), ()))
    return dataclasses.replace(_grouped(made, row), part=name)


def _short(row: Row, part: Part) -> Item | None:
    made = item(row, part, f"{row.text('question')}{SHORT}", _answers(row), (row.media("image"), ()))
    return _grouped(made, row)


def _ocrbench(row: Row, part: Part) -> Item | None:
    made = item(row, part, row.text("question"), _answers(row), (row.media("image"), ()))
    kind = row.optional("question_type", "category")
    return dataclasses.replace(made, part="HME100k" if row.optional("dataset") == "HME100k" else kind or part.name)


def _answers(row: Row) -> tuple[str, ...]:
    return row.texts("answers", "answer", "label")


def _image_suite(name: str, summary: str, rows: int, metric: Share, value: float | None) -> Suite:
    """One with the short ending and 32 tokens; others replace what differs."""
    return Suite(
        name=name,
        summary=summary,
        source=f"lmms-lab/{summary.partition(',')[0]}; lmms-eval",
        parts=(Part(name=name, patterns=("validation*", "val*", "test*"), rows=rows),),
        columns=("image", "question", "answer|answers"),
        build=_short,
        prompt="{question}" + SHORT,
        metric=metric,
        max_new_tokens=32,
        published=() if value is None else (Published(value=value, source=CARD),),
    )


_AI2D = dataclasses.replace(
    _image_suite("ai2d", "ai2d, questions about diagrams with four options", 3088, CHOICE, 82.3),
    columns=("image", "question", "options|A", "answer"),
    build=_ai2d,
    prompt="{question}\nA. ..\nB. ..\nC. ..\nD. .." + LETTER,
    max_new_tokens=16,
)
_CHARTQA = dataclasses.replace(
    _image_suite("chartqa", "ChartQA, questions about charts", 2500, RELAXED, 81.4),
    columns=("image", "question|query", "answer|label"),
    build=_chartqa,
    prompt="{question}" + WORD,
    max_new_tokens=16,
)
_VALIDATION = "answers of the test split are not public; the validation split is measured, the card's is not named"

SUITES = (
    _AI2D,
    dataclasses.replace(
        _AI2D,
        name="ai2d-vlmevalkit",
        source="AI2D_TEST.tsv; VLMEvalKit",
        parts=(Part(name="ai2d", patterns=("AI2D_TEST*", "test*")),),
        build=_ai2d_vlmevalkit,
        prompt="Question: {question}\nOptions:\nA. ..\nB. ..\nC. ..\nD. .." + SELECT,
        max_new_tokens=1000,
        notes=(_JUDGE,),
    ),
    _CHARTQA,
    dataclasses.replace(
        _CHARTQA,
        name="chartqa-vlmevalkit",
        source="ChartQA_TEST.tsv; VLMEvalKit",
        parts=(Part(name="chartqa", patterns=("ChartQA_TEST*", "test*")),),
        build=_chartqa_vlmevalkit,
        prompt="{question}" + SHORT,
        max_new_tokens=1000,
    ),
    dataclasses.replace(
        _image_suite("docvqa", "DocVQA, questions about scanned documents", 5349, ANLS, 93.2), notes=(_VALIDATION,)
    ),
    dataclasses.replace(
        _image_suite("infovqa", "InfographicVQA, questions about infographics", 2801, ANLS, 72.7), notes=(_VALIDATION,)
    ),
    dataclasses.replace(
        _image_suite("ocrbench", "OCRBench, text in images, 1,000 questions", 1000, OCRBENCH, 84.4),
        source="echo840/OCRBench; lmms-eval",
        build=_ocrbench,
        prompt="{question}",
        max_new_tokens=128,
    ),
    _image_suite("textvqa", "textvqa, questions about text in photographs", 5000, VQA, 75.6),
)
