"""The verdict on a measured change: slower, faster, the same, or noise.

A change counts where it is both certain and large: its probability without any change, corrected for the number of
figures as Holm does it, is at most ALPHA, and it is larger than the threshold. "The same" is a finding as well: the
whole interval lies within the threshold. All else is noise: these samples decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgephi_bench.comparison.signed_rank import Estimate
from edgephi_bench.measure.measurement import Better, Unit

Verdict = Literal["slower", "faster", "larger", "smaller", "same", "noise", "fact"]
#: Of a comparison as a whole: how often a change may be seen where there is none.
ALPHA = 0.05
#: The smallest change that matters, where nothing else is asked for.
THRESHOLD = 0.03
WORSE: frozenset[Verdict] = frozenset({"slower", "larger"})


def holm(probabilities: Sequence[float]) -> list[float]:
    """Each probability corrected for all of them, in their order, as Holm (1979) does it."""
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted, least = [1.0] * len(probabilities), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * probabilities[index]))
        adjusted[index] = least
    return adjusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The rule for what counts as a change.

    Attributes:
        threshold: Share by which it must have changed at least.
        alpha: That its corrected probability must not pass.
        allowance: Logarithm of a change that the machine explains; only what goes beyond it counts.
    """

    threshold: float = THRESHOLD
    alpha: float = ALPHA
    allowance: float = 0.0


def verdict(estimate: Estimate, p: float, rule: Rule, unit: Unit) -> Verdict:
    """The verdict on a logarithm of a ratio that is above 0 where something became worse.

    Args:
        estimate: The logarithm and its interval.
        p: Its corrected probability.
        rule: What counts.
        unit: Of the figure: sizes and energy become larger, everything else slower.
    """
    limit, of_size = math.log1p(rule.threshold), unit in ("bytes", "J")
    if p <= rule.alpha and abs(estimate.value) > limit + rule.allowance:
        if estimate.value > 0:
            return "larger" if of_size else "slower"
        return "smaller" if of_size else "faster"
    if estimate.low is not None and estimate.high is not None and -limit < estimate.low and estimate.high < limit:
        return "same"
    return "noise"


def loss(before: float, after: float, better: Better | None) -> float:
    """Logarithm of how many times worse `after` is; both above 0."""
    return math.log(after / before) * (-1 if better == "more" else 1)
