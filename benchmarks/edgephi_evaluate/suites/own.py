"""Data of one's own in the neutral form, judged by a metric of choice: `items:wer`, `items:exact` and others."""

from __future__ import annotations

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.bleu import Bleu
from edgephi_evaluate.metrics.calls import CALLS
from edgephi_evaluate.metrics.metric import Metric
from edgephi_evaluate.metrics.multilingual import MultilingualErrors
from edgephi_evaluate.metrics.texts import ANLS, CHOICE, CONTAINS, EXACT, LETTER, OCRBENCH, RELAXED
from edgephi_evaluate.metrics.vqa import VQA
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.normalize.english import english_2025, english_2026
from edgephi_evaluate.normalize.multilingual import characters
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Adapter, Part, Suite

PREFIX = "items:"
_METRICS: dict[str, tuple[Metric, str]] = {
    "wer": (WordErrors(normalize=english_2025), "word errors of English, as OpenASR counted until 2025"),
    "wer-2026": (WordErrors(normalize=english_2026, merge_compounds=True), "the same, as OpenASR counts since 2026"),
    "wer-raw": (WordErrors(is_marked=True), "word errors of texts as they are, control tokens included"),
    "wer-multilingual": (MultilingualErrors(), "word errors in the language of each item"),
    "cer": (WordErrors(normalize=characters, name="cer"), "character errors"),
    "bleu": (Bleu(), "BLEU by sacrebleu"),
    "exact": (EXACT, "answers that are right to the letter"),
    "contains": (CONTAINS, "replies that hold an answer"),
    "choice": (CHOICE, "the option's letter"),
    "letter": (LETTER, "the first of A to D"),
    "anls": (ANLS, "average normalized Levenshtein similarity"),
    "relaxed": (RELAXED, "numbers within 5 %"),
    "ocrbench": (OCRBENCH, "as OCRBench"),
    "vqa": (VQA, "VQA accuracy"),
    "calls": (CALLS, "function calls, as BFCL"),
}


def refused_row(row: Row, part: Part) -> Item | None:  # noqa: ARG001 - as every suite
    """There is no published form.

    Raises:
        ArtifactError: Always.
    """
    raise ArtifactError(f"{row.where}: is no file of items; name it items.jsonl, items.tsv or items.parquet")


def items_suite(name: str, metric: str, summary: str, *, adapter: Adapter = "auto", max_new_tokens: int = 512) -> Suite:
    """A suite of items in the neutral form.

    Args:
        name: On the command line.
        metric: A name of one, as after `items:`.
        summary: What it measures.
        adapter: See Suite.
        max_new_tokens: See Suite.
    """
    return Suite(
        name=name,
        summary=summary,
        source="items.jsonl, items.tsv or items.parquet",
        parts=(Part(name="", patterns=("items",)),),
        columns=("id", "prompt|messages|images|audio", "answers|answer"),
        build=refused_row,
        prompt="",
        same_prompt=True,
        metric=_METRICS[metric][0],
        max_new_tokens=max_new_tokens,
        adapter=adapter,
    )


SUITES = tuple(
    items_suite(f"{PREFIX}{metric}", metric, f"Your own items: {words}") for metric, (_, words) in _METRICS.items()
)
