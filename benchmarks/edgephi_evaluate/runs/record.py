"""`ItemRecord`: one line of a run, which holds all that a report needs of an answer."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from edgephi.base.json_file import decode, parse_json
from edgephi_evaluate.answer import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """One answered item.

    Attributes:
        id: Of the item, once in a run.
        group: Items that are drawn together for intervals.
        part: Of the suite.
        prompt: Of the last user turn.
        media: Names of its images and recordings.
        reply: Without control tokens; empty where the item failed.
        marked_reply: With them, where that is another text.
        token_ids: Of the reply.
        new_tokens: How many the engine made; None where it does not report that.
        finish_reason: `stop`, `length`, or `error`.
        error: Why the item failed; None where it did not.
        answers: What counts as right.
        reference: The right answer as it was compared.
        normalized: The reply as it was compared.
        counts: What it adds to the suite's figure.
        audio_s: Length of its recordings; None without any or where it is not known.
        seconds: What the answer took; None where the item failed.
        peak_rss_bytes: Most memory of the engine's process so far.
        energy_j: Of the machine during the answer, where it reports that.
    """

    id: str
    group: str
    part: str
    prompt: str
    media: tuple[str, ...] = ()
    reply: str
    marked_reply: str | None = None
    token_ids: tuple[int, ...] = ()
    new_tokens: int | None = None
    finish_reason: str
    error: str | None = None
    answers: tuple[str, ...] = ()
    reference: str = ""
    normalized: str = ""
    counts: tuple[float, ...]
    audio_s: float | None = None
    seconds: Seconds | None = None
    peak_rss_bytes: int | None = None
    energy_j: float | None = None

    def line(self) -> str:
        """As a line of JSON, its end included."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False) + "\n"


def read_record(line: str, where: str) -> ItemRecord:
    """The record of a line.

    Args:
        line: Of a run's file.
        where: The file and the line, for messages.

    Raises:
        ArtifactError: It is none.
    """
    return decode(ItemRecord, parse_json(line, where), where)
