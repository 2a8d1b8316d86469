"""A budget must be kept, and spent where a byte takes away the most loss."""

from __future__ import annotations

import itertools
import random

import pytest

from edgephi_quantize.allocation import Choice, Group, allocate, as_rules, smallest_bytes
from edgephi_quantize.formats import BlockFormat

FORMATS = [BlockFormat(bits=bits, block_size=size) for bits, size in ((2, 128), (4, 128), (4, 32), (8, 128))]


def _group(name: str, *choices: tuple[int, float]) -> Group:
    made = (Choice(format=one, bytes=size, loss=loss) for one, (size, loss) in zip(FORMATS, choices, strict=False))
    return Group(name=name, linears=(name,), choices=tuple(made))


def test_bytes_go_to_the_group_that_loses_most_for_each_of_them():
    groups = [_group("blunt", (10, 1.0), (20, 0.9)), _group("sensitive", (10, 1.0), (20, 0.1))]
    assert [choice.bytes for choice in allocate(groups, 30)] == [10, 20]


def test_a_large_step_is_taken_at_once_where_its_first_part_does_not_pay():
    """4 bits in blocks of 32 may hardly be better than of 128, and 8 bits much."""
    assert allocate([_group("head", (10, 1.0), (20, 0.99), (40, 0.0))], 40)[0].bytes == 40


def test_the_smallest_is_the_better_of_two_that_take_the_same():
    assert allocate([_group("one", (10, 1.0), (10, 0.5))], 10)[0].loss == 0.5


def test_what_makes_it_worse_is_never_chosen_though_it_fits():
    assert allocate([_group("one", (10, 0.1), (20, 0.2), (30, 0.1))], 100)[0].bytes == 10


def test_a_budget_below_the_smallest_is_refused():
    groups = [_group("one", (10, 1.0)), _group("two", (7, 1.0), (20, 0.0))]
    assert smallest_bytes(groups) == 17
    with pytest.raises(ValueError, match="16 bytes are 1 too few"):
        allocate(groups, 16)


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_that_fits_is_much_better(seed: int):
    """Greedy: at most what one group's richest choice would still take away is lost."""
    rng = random.Random(seed)
    groups = []
    for number in range(5):
        sizes = sorted(rng.sample(range(1, 60), 4))
        losses = sorted((rng.random() for _ in range(4)), reverse=True)
        groups.append(_group(str(number), *zip(sizes, losses, strict=True)))
    most = rng.randint(smallest_bytes(groups), 200)
    chosen = allocate(groups, most)
    assert sum(choice.bytes for choice in chosen) <= most
    best = min(
        sum(choice.loss for choice in picked)
        for picked in itertools.product(*(group.choices for group in groups))
        if sum(choice.bytes for choice in picked) <= most
    )
    gap = max(group.smallest.loss - min(choice.loss for choice in group.choices) for group in groups)
    assert sum(choice.loss for choice in chosen) <= best + gap


def test_every_linear_of_a_group_gets_its_format():
    group = Group(
        name="both", linears=("layers.0.a", "layers.1.a"), choices=(Choice(format=FORMATS[0], bytes=1, loss=0),)
    )
    assert [(rule.pattern, str(rule.format)) for rule in as_rules([group], group.choices)] == [
        ("layers.0.a", "int2:128"),
        ("layers.1.a", "int2:128"),
    ]
