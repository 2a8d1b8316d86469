"""The lists of mutations: each names what is there. `make mutations` makes the mistakes themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutations.listing import Mutation, read_lists

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", read_lists(), ids=lambda mutation: mutation.name)
def test_a_mutation_changes_what_is_there_and_names_tests_that_are(mutation: Mutation):
    assert mutation.changed(ROOT) != (ROOT / mutation.file).read_text(encoding="utf-8")
    mutation.check_tests(ROOT)
