"""What an export does where an option is left out must be best for the folder, and never against what is said."""

from __future__ import annotations

from typing import Any

import pytest

from edgephi_export.checkpoint.selection import choose
from edgephi_export.options import ExportOptions
from edgephi_export.recipe_options import with_absorption

ALL = ("text", "speech", "vision")


@pytest.mark.parametrize(
    ("options", "modalities", "served", "absorb"),
    [
        ({}, ALL, {"none", "speech", "vision"}, True),
        ({"recipe": "int4-fast", "method": "gptq"}, ALL, {"speech", "vision"}, True),
        ({}, ("text", "speech"), {"none", "speech"}, True),
        ({}, ALL, {"none", "speech"}, False),  # the adapter of images would be solved on nothing
        ({}, ALL, set(), False),
        ({"absorb": False}, ALL, {"speech", "vision"}, False),
        ({"absorb": True, "method": "rtn"}, ALL, {"none"}, True),  # and is refused for want of examples
        ({"method": "weighted"}, ALL, {"speech", "vision"}, None),
        ({"recipe": "int8"}, ALL, {"speech", "vision"}, None),
        ({"recipe": "mine.json"}, ALL, {"speech", "vision"}, None),
    ],
)
def test_adapters_are_solved_anew_by_default_where_each_of_them_has_examples(
    options: dict[str, Any], modalities: tuple[str, ...], served: set[str], absorb: bool | None
):
    selection = choose(None, modalities, ALL)
    assert with_absorption(ExportOptions(**options), selection, frozenset(served)).absorb == absorb


def test_an_adapter_that_is_merged_is_not_solved():
    selection = choose("speech", None, ALL)
    assert with_absorption(ExportOptions(), selection, frozenset(("speech",))).absorb is None
