"""Spoken questions about images: the figures s_AI2D, s_ChartQA, s_DocVQA and s_InfoVQA of the model card.

Nobody published these recordings under a name that can be fetched, so the data are items of the neutral form, with
recordings of one's own.
"""

from __future__ import annotations

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share
from edgephi_evaluate.metrics.texts import ANLS, CHOICE, RELAXED
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Published, Suite
from edgephi_evaluate.suites.images import CARD

_NOTES = (
    "the image and the spoken question, and no text: <|user|><|image_1|><|audio_1|><|end|><|assistant|>",
    "whose recordings they are decides the figure: name their source beside it",
)
_OPTIONS = (
    "an item without a prompt is asked with the options spoken; with the options as its prompt they stand behind the "
    "recording as text"
)


def _refused(row: Row, part: Part) -> Item | None:
    """There is no published form.

    Raises:
        ArtifactError: Always.
    """
    raise ArtifactError(f"{row.where}: {part.name} is measured on items.jsonl with recordings of your own")


def _suite(name: str, metric: Share, value: float, tokens: int, notes: tuple[str, ...] = ()) -> Suite:
    return Suite(
        name=name,
        summary=f"Spoken questions of {name.removeprefix('s-')} about its images",
        source="items.jsonl of your own: image, recording, answers",
        parts=(Part(name=name, patterns=("items",)),),
        columns=("image|images", "audio", "answers|answer"),
        build=_refused,
        prompt="",
        same_prompt=True,
        metric=metric,
        max_new_tokens=tokens,
        published=(Published(value=value, source=CARD),),
        notes=(*_NOTES, *notes),
    )


SUITES = (
    _suite("s-ai2d", CHOICE, 68.9, 16, (_OPTIONS,)),
    _suite("s-chartqa", RELAXED, 69.0, 16),
    _suite("s-docvqa", ANLS, 87.3, 32),
    _suite("s-infovqa", ANLS, 63.7, 32),
)
