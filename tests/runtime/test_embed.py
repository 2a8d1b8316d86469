"""The decoder must read each token's row, and the media's rows in the place of their slots."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.embed import InputSequence, as_token_ids, check_ids, expand_slots
from edgephi.errors import ConfigError
from support.tables import ArrayTable

TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)


def _media(rows: int, value: float) -> np.ndarray:
    return value * np.arange(1, 4 * rows + 1, dtype=np.float32).reshape(rows, 4)


def _sequence() -> InputSequence:
    """Ids 1 [3 rows] 2 [1 row] 3."""
    return InputSequence(ArrayTable(TABLE), np.array([1, 9, 2, 8, 3]), {1: _media(3, -1), 3: _media(1, -2)})


def test_one_slot_becomes_as_many_as_the_encoder_returned():
    assert expand_slots(np.array([5, 7]), np.array([1, 3])).tolist() == [5, 7, 7, 7]
    assert _sequence().token_ids.tolist() == [1, 9, 9, 9, 2, 8, 3]


def test_rows_are_the_tables_and_the_medias_in_order():
    expected = np.stack([TABLE[1], *_media(3, -1), TABLE[2], *_media(1, -2), TABLE[3]])
    rows = _sequence().rows(0, 7)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[0], expected)


@pytest.mark.parametrize("cut", range(1, 7))
def test_reading_in_pieces_equals_reading_at_once(cut: int):
    sequence = _sequence()
    pieces = np.concatenate([sequence.rows(0, cut), sequence.rows(cut, 7)], axis=1)
    assert np.array_equal(pieces, sequence.rows(0, 7))


def test_generated_tokens_are_appended():
    sequence = _sequence()
    for token_id in range(10):
        sequence.append(token_id)
    assert sequence.token_ids.tolist() == [1, 9, 9, 9, 2, 8, 3, *range(10)]
    assert np.array_equal(sequence.rows(7, 17)[0], TABLE)


@pytest.mark.parametrize(("ids", "match"), [([], "no tokens"), ([1, 10], "id 10 is outside.*of 10"), ([-1], "id -1")])
def test_ids_outside_the_vocabulary_are_refused(ids: list[int], match: str):
    with pytest.raises(ConfigError, match=match):
        check_ids(as_token_ids(ids), len(TABLE))


@pytest.mark.parametrize("ids", [[1.5], [[1, 2]], [[1], [1, 2]], ["a"], [10**30], 3])
def test_ids_must_be_a_list_of_integers(ids: object):
    with pytest.raises(ConfigError, match="must be a list of integers"):
        as_token_ids(ids)  # type: ignore[arg-type]
