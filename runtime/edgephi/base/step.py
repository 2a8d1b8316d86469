"""How far a piece of work is that takes minutes, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far the work is.

    Attributes:
        label: The part at hand, in a few words.
        done: What is finished, 0 to `total`.
        total: In the unit of `done`; 0 where it is not known.
        facts: Counts and rates, made of the seconds since the first step; None where the label says it all.
        stays: Whether the label is worth reading afterwards, such as that a part was left out.
    """

    label: str
    done: int
    total: int
    facts: Callable[[float], str] | None = None
    stays: bool = False


OnStep: TypeAlias = Callable[[Step], None]
