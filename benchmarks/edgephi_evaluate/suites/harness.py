"""Tasks of lm-evaluation-harness as suites: it knows their prompts and data, and judges."""

from __future__ import annotations

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share
from edgephi_evaluate.suite import Suite
from edgephi_evaluate.suites.own import refused_row

PREFIX = "lm-eval:"


def _unjudged(item: Item, answer: Answer) -> float:  # noqa: ARG001 - as every mark
    """The harness has judged.

    Raises:
        AssertionError: Always.
    """
    raise AssertionError("the harness judges its own tasks")


def harness_suite(name: str) -> Suite:
    """The suite of a task, `lm-eval:TASK`."""
    return Suite(
        name=name,
        summary=f"{name.removeprefix(PREFIX)} of lm-evaluation-harness",
        source="lm-evaluation-harness, data in its cache on this machine",
        parts=(),
        build=refused_row,
        prompt="the harness's, by the model's chat template",
        metric=Share("mark", "the harness's marks, % (a part for each metric and filter)", _unjudged),
        max_new_tokens=0,
        overall="mean",
        notes=("the suite's own figure is the mean of all metrics and filters: read those of the parts",),
    )
