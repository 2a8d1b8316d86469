"""The decoder must read each token's row, and the media's rows in the place of their slots."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.base.errors import ConfigError
from edgephi.prompt.input_sequence import InputSequence, as_token_ids, check_ids, expand_slots
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


def test_appended_tokens_can_be_taken_back_but_not_the_prompt():
    """Proposals that were not accepted; a shorter prompt would be another request."""
    sequence = _sequence()
    for token_id in (4, 5, 6):
        sequence.append(token_id)
    sequence.truncate(8)
    sequence.append(7)
    assert sequence.token_ids.tolist() == [1, 9, 9, 9, 2, 8, 3, 4, 7]
    assert np.array_equal(sequence.rows(7, 9)[0], TABLE[[4, 7]])
    for length in (6, 10):
        with pytest.raises(ValueError, match=f"cannot truncate to {length}: 7 to 9 is possible"):
            sequence.truncate(length)
    assert len(sequence) == 9


def test_media_are_named_by_place_and_content():
    one, two = _sequence(), _sequence()
    assert [(span.start, span.length) for span in one.spans] == [(1, 3), (5, 1)]
    assert one.spans == two.spans
    other = InputSequence(ArrayTable(TABLE), np.array([1, 9, 2, 8, 3]), {1: _media(3, -1), 3: _media(1, -3)})
    assert other.spans[0] == one.spans[0]
    assert other.spans[1] != one.spans[1]
    assert [len(one.media_after(position)) for position in (0, 3, 4, 5, 6)] == [2, 2, 1, 1, 0]


def test_rows_are_computed_when_they_are_read_only():
    class Counted:
        digest = b"x"
        asked = 0

        def __len__(self) -> int:
            return 3

        def rows(self) -> np.ndarray:
            self.asked += 1
            return _media(3, -1)

    media = Counted()
    sequence = InputSequence(ArrayTable(TABLE), np.array([1, 9, 2]), {1: media})
    assert (len(sequence), sequence.spans[0].length) == (5, 3)
    sequence.rows(4, 5)
    assert media.asked == 0
    assert np.array_equal(sequence.rows(2, 5)[0], np.stack([*_media(3, -1)[1:], TABLE[2]]))
    assert media.asked == 1
