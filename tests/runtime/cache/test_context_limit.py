"""The lengths that a sequence may take, without a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgephi.base.errors import CapacityError
from edgephi.bundle.bundle import Bundle
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import cache_shape
from support.bundles import small_bundle

MANIFEST = Bundle(small_bundle()).manifest
ROPE = replace(MANIFEST.rope, original_max_positions=4096, max_positions=131072)


def _limit(max_context: int = 131072) -> ContextLimit:
    return ContextLimit(cache_shape(MANIFEST, max_context), ROPE)


def test_a_sequence_keeps_its_rotary_factors_up_to_the_boundary_or_the_context():
    """Draft tokens beyond would change the logits of the accepted ones."""
    assert [_limit().reach(total) for total in (1, 4096, 4097, 131072)] == [4096, 4096, 131072, 131072]
    assert [_limit(5000).reach(total) for total in (1, 4096, 4097, 5000)] == [4096, 4096, 5000, 5000]
    assert _limit(100).reach(1) == 100


def test_the_long_factors_begin_after_the_boundary():
    assert [_limit().is_long(total) for total in (1, 4096, 4097)] == [False, False, True]


def test_a_sequence_fills_the_context_and_not_one_position_more():
    limit = _limit(32)
    limit.check(32)
    assert (limit.has_room(32), limit.has_room(33)) == (True, False)
    with pytest.raises(CapacityError, match="needs at least 33 tokens but the context holds 32") as caught:
        limit.check(33, is_least=True)
    assert caught.value.reason == "context"
