"""Which format each group of tensors gets: the least loss for the bytes that a decoding step reads.

What a model loses is taken as the sum of what each group of its tensors loses alone. Every group begins in its smallest
format; then, again and again, the change is made that takes away the most loss for each byte that it adds, among those
that still fit: the greedy solution of the multiple-choice knapsack problem (Sinha and Zoltners 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgephi_quantize.formats import Format
from edgephi_quantize.recipe import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One format of a group: the bytes that a step reads of it, and what the model loses by it alone."""

    format: Format
    bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tensors that get the same format.

    Attributes:
        name: Of the group.
        linears: Their names.
        choices: At least one.
    """

    name: str
    linears: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def smallest(self) -> Choice:
        """The choice of the fewest bytes, the better one of equals."""
        return min(self.choices, key=lambda choice: (choice.bytes, choice.loss))


def smallest_bytes(groups: Sequence[Group]) -> int:
    """The fewest bytes that all groups take together."""
    return sum(group.smallest.bytes for group in groups)


def allocate(groups: Sequence[Group], most_bytes: int) -> tuple[Choice, ...]:
    """The choice of each group, in their order.

    Args:
        groups: All of them.
        most_bytes: That all choices may take together.

    Raises:
        ValueError: The smallest formats take more.
    """
    chosen = [group.smallest for group in groups]
    left = most_bytes - smallest_bytes(groups)
    if left < 0:
        raise ValueError(f"{most_bytes} bytes are {-left} too few")
    while (best := max(_changes(groups, chosen, left), default=None)) is not None:
        _, place, number = best
        found = groups[place].choices[number]
        left -= found.bytes - chosen[place].bytes
        chosen[place] = found
    return tuple(chosen)


def _changes(groups: Sequence[Group], chosen: Sequence[Choice], left: int) -> Iterator[tuple[float, int, int]]:
    """Every change that helps and fits: the loss that it takes away for each byte, the group, the choice."""
    for place, (group, now) in enumerate(zip(groups, chosen, strict=True)):
        for number, choice in enumerate(group.choices):
            added, gained = choice.bytes - now.bytes, now.loss - choice.loss
            if gained > 0 and added <= left:
                yield gained / max(added, 1), place, number


def as_rules(groups: Sequence[Group], chosen: Sequence[Choice]) -> tuple[Rule, ...]:
    """Rules that give every linear of the groups its format, one for each linear, in the order of the groups."""
    return tuple(
        Rule(linear, choice.format) for group, choice in zip(groups, chosen, strict=True) for linear in group.linears
    )
