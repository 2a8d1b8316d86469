"""`Suite`: a benchmark as this program runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.metric import Metric
from edgephi_evaluate.readers.rows import Row

Adapter = Literal["auto", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One data set, split or kind of a suite.

    Attributes:
        name: As reports show it.
        patterns: Of its files below the suite's folder, without suffix, such as `ami/test*`.
        rows: How many rows the published data set has; None where it is not known.
        language: ISO 639-1 code of the replies, where they are judged by it.
    """

    name: str
    patterns: tuple[str, ...]
    rows: int | None = None
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure that somebody published.

    Attributes:
        value: In the unit of the suite's metric.
        source: Who says so, and when.
        part: Of which part; empty for the suite as a whole.
    """

    value: float
    source: str
    part: str = ""


#: Makes an item of a row; None leaves the row out, as the public harness does.
BuildItem: TypeAlias = Callable[[Row, Part], Item | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A benchmark.

    Attributes:
        name: On the command line.
        summary: What it measures, in a line.
        source: The data set, by the name that it is published under, and the harness that is followed.
        version: Rises with every change that changes a figure.
        parts: Of which each has a figure.
        columns: Of the published rows, that the suite reads; of alternatives `a|b` one must be there.
        build: Makes an item of a published row.
        prompt: The user's text of every item, or its pattern; an item of the neutral form without a prompt is asked
            this where the text is the same for all.
        same_prompt: Whether it is.
        metric: How replies are judged.
        max_new_tokens: Most tokens of a reply.
        adapter: `auto` for the model's rule, `none` to measure without adapters.
        keeps_cache: Whether what an item has in common with earlier ones, such as examples, may come from the prefix
            cache. Answers then depend on the order of items by rounding.
        overall: How the suite's own figure is made of its parts: their plain mean, or over all items.
        published: Figures to compare with.
        notes: What a figure is to be read with.
    """

    name: str
    summary: str
    source: str
    version: int = 1
    parts: tuple[Part, ...]
    columns: tuple[str, ...] = ()
    build: BuildItem
    prompt: str
    same_prompt: bool = False
    metric: Metric
    max_new_tokens: int
    adapter: Adapter = "auto"
    keeps_cache: bool = False
    overall: Literal["mean", "pooled"] = "pooled"
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
