"""Requirements on figures, judged at the far end of their intervals: `wer<=6.5`, `docvqa.anls>=-0.5`.

[SUITE.]METRIC OPERATOR NUMBER     OPERATOR: <= or >=     a NUMBER with a sign is a change against --baseline
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgephi.base.errors import ConfigError
from edgephi_evaluate.statistics.summary import SuiteSummary

_FORM = re.compile(r"\s*(?:(.+)\.)?([a-z0-9]+)\s*(<=|>=)\s*([+-]?)([0-9]+(?:\.[0-9]+)?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement.

    Attributes:
        text: As it was given.
        suite: For which it holds; None for every suite with the metric.
        metric: Short name.
        is_at_most: `<=`, else `>=`.
        is_change: Whether the change against the baseline is meant.
        limit: In the unit of the metric.
    """

    text: str
    suite: str | None
    metric: str
    is_at_most: bool
    is_change: bool
    limit: float

    def failures(self, summaries: Sequence[SuiteSummary]) -> list[str]:
        """In words, each figure that does not meet it.

        Raises:
            ConfigError: No suite of the run has the metric, or a change is asked for without a baseline.
        """
        mine = [one for one in summaries if one.metric_name == self.metric and self.suite in (None, one.suite)]
        if not mine:
            known = ", ".join(f"{one.suite}.{one.metric_name}" for one in summaries)
            raise ConfigError(f"--require {self.text}: the run has no such figure; it has {known}")
        return [words for one in mine if (words := self._failure(one))]

    def _failure(self, summary: SuiteSummary) -> str:
        estimate = summary.change if self.is_change else summary.whole.estimate
        if estimate is None:
            raise ConfigError(f"--require {self.text}: a change needs --baseline RUN")
        far = estimate.high if self.is_at_most else estimate.low
        if far is None:
            return f"{summary.suite}: {self.metric} has no interval, one group of items is too few for {self.text}"
        if (far <= self.limit) if self.is_at_most else (far >= self.limit):
            return ""
        end = "high" if self.is_at_most else "low"
        return f"{summary.suite}: {self.text} is not met, the {end} end of its interval is {far:+.2f}"


def parse_requirement(text: str) -> Requirement:
    """A requirement from its text.

    Raises:
        ConfigError: It has another form.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(f"--require {text!r}: write METRIC<=NUMBER, such as 'wer<=6.5' or, as a change, 'wer<=+0.3'")
    return Requirement(
        text=text.strip(),
        suite=match[1],
        metric=match[2],
        is_at_most=match[3] == "<=",
        is_change=bool(match[4]),
        limit=float(match[4] + match[5]),
    )
