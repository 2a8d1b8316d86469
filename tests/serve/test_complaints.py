"""Each complaint of other servers' users that docs/serve-complaints.md lists has tests, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = re.findall(
    r"^\| (\d+) \|.*\| (.*) \|$", (HERE.parents[1] / "docs/serve-complaints.md").read_text(), re.MULTILINE
)


def test_no_complaint_is_left_out():
    assert [int(number) for number, _ in ROWS] == list(range(1, 49))


@pytest.mark.parametrize(("number", "tests"), ROWS, ids=[number for number, _ in ROWS])
def test_its_tests_exist(number, tests):
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    assert named, f"complaint {number} names no test"
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (HERE / file).read_text(), re.MULTILINE), f"{file} lacks {test}"
