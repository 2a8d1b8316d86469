"""A requirement that cannot be read is refused before a model runs, and one that is missed is named."""

from __future__ import annotations

import re

import pytest

from edgephi import ConfigError
from edgephi_export.fidelity.requirements import parse_requirement


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("kl<=0.01", (None, "kl", "<=", 0.01)),
        (" top1 >= 97% ", (None, "top1", ">=", 0.97)),
        ("speech.kl_p99<1e-2", ("speech", "kl_p99", "<", 0.01)),
        (
            "speech, unseen voices.error_increase_high<=0.3%",
            ("speech, unseen voices", "error_increase_high", "<=", 0.003),
        ),
    ],
)
def test_a_requirement_has_a_scope_a_metric_and_a_limit(text: str, parts: tuple):
    found = parse_requirement(text)
    assert (found.scope, found.metric, found.sign) == parts[:3]
    assert found.limit == pytest.approx(parts[3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kl=0.1", "write METRIC<=NUMBER"),
        ("kl<=x", "write METRIC"),
        ("kl<=1e", "write METRIC"),
        ("kkl<=1", "unknown metric 'kkl'; known: kl, "),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, message: str):
    with pytest.raises(ConfigError, match=f"--require {re.escape(repr(text))}: {message}"):
        parse_requirement(text)


def test_a_scope_that_no_example_has_is_refused():
    with pytest.raises(ConfigError, match=r"measured of speech, text$"):
        parse_requirement("vision.kl<=1").check_scope({"text", "speech"}, set())
    with pytest.raises(ConfigError, match="give examples with answers and a measure"):
        parse_requirement("error_rate<=1").check_scope({"text"}, set())
    parse_requirement("far.error_rate<=1").check_scope({"text"}, {"far"})
