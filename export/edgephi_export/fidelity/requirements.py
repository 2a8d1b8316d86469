"""Requirements on a report's figures, such as `kl<=0.01`, `speech.kl_p99<=0.5` or `top1>=97%`.

    [SCOPE.]METRIC OPERATOR NUMBER     OPERATOR: <= >= < >     NUMBER: 0.97 or 97%

A scope is a mode, or the set of judged examples; without one, every mode or set must meet the requirement.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from edgephi.base.errors import ConfigError
from edgephi_export.fidelity.report import ModeFigures, ModelFidelity, TaskFigures

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*(?:(.+)\.)?([a-z0-9_]+)\s*(<=|>=|<|>)\s*([0-9.eE+-]+)(%?)\s*")

MODE_METRICS: dict[str, Callable[[ModeFigures], float]] = {
    "kl": lambda one: one.forced.kl.value,
    "kl_median": lambda one: one.forced.kl_median,
    "kl_p95": lambda one: one.forced.kl_p95,
    "kl_p99": lambda one: one.forced.kl_p99,
    "kl_p999": lambda one: one.forced.kl_p999,
    "kl_max": lambda one: one.forced.kl_max,
    "top1": lambda one: one.forced.top1.value,
    "perplexity_ratio": lambda one: one.forced.perplexity_ratio.value,
    "exact_match": lambda one: one.free.exact_match.value,
    "common_prefix": lambda one: one.free.common_prefix.value,
    "loop_rate": lambda one: one.free.loop_rate,
    "loop_increase": lambda one: one.free.loop_rate - one.free.reference_loop_rate,
    "missing_end": lambda one: one.free.missing_end,
    "missing_end_increase": lambda one: one.free.missing_end - one.free.reference_missing_end,
}
TASK_METRICS: dict[str, Callable[[TaskFigures], float]] = {
    "set_kl": lambda one: one.kl.value,
    "error_rate": lambda one: one.error_rate.value,
    "error_increase": lambda one: one.increase.value,
    "error_increase_high": lambda one: one.increase.high,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement; `scope` is None where it holds for all."""

    text: str
    scope: str | None
    metric: str
    sign: str
    limit: float

    def check_scope(self, modes: Collection[str], groups: Collection[str]) -> None:
        """Refuse a scope that the examples lack.

        Args:
            modes: Of the examples.
            groups: Of the examples that are judged.

        Raises:
            ConfigError: It names the scopes that there are.
        """
        known = sorted(modes if self.metric in MODE_METRICS else groups)
        if not known or self.scope not in (None, *known):
            raise ConfigError(
                f"--require {self.text}: the examples have no such figure; {self.metric} is measured of "
                f"{', '.join(known) or 'none: give examples with answers and a measure'}"
            )

    def failures(self, model: ModelFidelity) -> Iterator[str]:
        """In words, each figure of a model that does not meet it."""
        for name, value in self._values(model):
            if self.scope in (None, name) and not _OPERATORS[self.sign](value, self.limit):
                yield f"{name} {self.metric} is {value:.4g}, not {self.sign} {self.limit:g}"

    def _values(self, model: ModelFidelity) -> list[tuple[str, float]]:
        if self.metric in MODE_METRICS:
            return [(one.mode, MODE_METRICS[self.metric](one)) for one in model.modes]
        return [(one.group, TASK_METRICS[self.metric](one)) for one in model.tasks]


def parse_requirement(text: str) -> Requirement:
    """A requirement from its text.

    Raises:
        ConfigError: It has another form, or names an unknown metric.
    """
    match = _FORM.fullmatch(text)
    known = (*MODE_METRICS, *TASK_METRICS)
    try:
        if match is None:
            raise ValueError
        limit = float(match[4]) / (100 if match[5] else 1)
    except ValueError:
        raise ConfigError(
            f"--require {text!r}: write METRIC<=NUMBER, such as 'kl<=0.01' or 'speech.top1>=97%'"
        ) from None
    if match[2] not in known:
        raise ConfigError(f"--require {text!r}: unknown metric {match[2]!r}; known: {', '.join(known)}")
    return Requirement(text=text, scope=match[1], metric=match[2], sign=match[3], limit=limit)
