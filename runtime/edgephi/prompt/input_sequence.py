"""The decoder's input rows: token embeddings with media rows spliced in.

Rows are read from the mapped table when asked for, so a long prompt costs 8 bytes per token plus its media.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError


class RowTable(Protocol):
    """What a sequence needs of the embedding table."""

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, H], a new array."""


class MediaEmbedding(Protocol):
    """The rows of one image or audio input, which may not have been computed yet."""

    @property
    def digest(self) -> bytes:
        """Equal for equal rows only."""

    def __len__(self) -> int:
        """How many rows there are."""

    def rows(self) -> NDArray[np.float32]:
        """float32 [rows, H]."""


class KnownEmbedding:
    """Rows that are there already, as MediaEmbedding."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows
        self.digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).digest()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> NDArray[np.float32]:
        """float32 [rows, H]."""
        return self._rows


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """Where the rows of one image or audio input lie in a sequence, and which content they are."""

    start: int
    length: int
    digest: bytes


class InputSequence:
    """Everything the decoder reads in one request: grows by one token at a time.

    Args:
        table: Gives each token's row.
        token_ids: int64 [P]. One slot id per image or audio input, checked by `check_ids`.
        media: For each position of a slot in `token_ids`, the rows that replace it: float32 [rows, H], or rows that
            are computed when the decoder first reads them.
    """

    def __init__(
        self, table: RowTable, token_ids: NDArray[np.int64], media: Mapping[int, NDArray[np.float32] | MediaEmbedding]
    ) -> None:
        self._table = table
        repeats = np.ones(len(token_ids), dtype=np.int64)
        for position, rows in media.items():
            repeats[position] = len(rows)
        starts = np.cumsum(repeats) - repeats
        self._ids = expand_slots(token_ids, repeats)
        self._length = self._prompt_length = len(self._ids)
        ordered = [(int(starts[position]), media[position]) for position in sorted(media)]
        self._media = [(at, KnownEmbedding(rows) if isinstance(rows, np.ndarray) else rows) for at, rows in ordered]

    @property
    def spans(self) -> tuple[MediaSpan, ...]:
        """Images and audio inputs in the order of their rows."""
        return tuple(MediaSpan(start, len(rows), rows.digest) for start, rows in self._media)

    def media_after(self, position: int) -> list[MediaEmbedding]:
        """The images and audio inputs with rows at `position` or later."""
        return [rows for start, rows in self._media if start + len(rows) > position]

    def __len__(self) -> int:
        return self._length

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """int64 [S]: every id so far, each slot repeated once per row. A view."""
        return self._ids[: self._length]

    def append(self, token_id: int) -> None:
        """Add a generated token."""
        if self._length == len(self._ids):
            grown = np.zeros(max(64, self._length * 2), dtype=np.int64)
            grown[: self._length] = self._ids
            self._ids = grown
        self._ids[self._length] = token_id
        self._length += 1

    def truncate(self, length: int) -> None:
        """Drop the tokens from `length` on, such as rejected draft tokens.

        Raises:
            ValueError: `length` is more than there is, or cuts into the prompt.
        """
        if not self._prompt_length <= length <= self._length:
            raise ValueError(f"cannot truncate to {length}: {self._prompt_length} to {self._length} is possible")
        self._length = length

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """float32 [1, stop - start, H]: the decoder's `inputs_embeds` for these positions, a new array."""
        out = self._table.rows(self._ids[start:stop])[None]
        for first, media in self._media:
            low, high = max(start, first), min(stop, first + len(media))
            if low < high:
                out[0, low - start : high - start] = media.rows()[low - first : high - first]
        return out


def expand_slots(token_ids: NDArray[np.int64], repeats: NDArray[np.int64]) -> NDArray[np.int64]:
    """Repeat each slot as often as its media has rows.

    Args:
        token_ids: int64 [P].
        repeats: int64 [P]. 1 for text.

    Returns:
        int64 [S], S = sum of `repeats`.
    """
    return np.repeat(token_ids, repeats)


def check_ids(token_ids: NDArray[np.int64], vocab_size: int) -> None:
    """Refuse ids that no embedding row exists for.

    Raises:
        ConfigError: There are no ids, or one is negative or too large.
    """
    if not len(token_ids):
        raise ConfigError("the prompt has no tokens")
    bad = token_ids[(token_ids < 0) | (token_ids >= vocab_size)]
    if len(bad):
        raise ConfigError(f"token id {bad[0]} is outside the vocabulary of {vocab_size:,}")


def as_token_ids(values: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """One-dimensional int64 ids from a list or an integer array.

    Raises:
        ConfigError: Another shape or type.
    """
    try:
        ids = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"token_ids must be a list of integers ({error})") from error
    if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
        raise ConfigError(f"token_ids must be a list of integers; got {ids.dtype} with shape {list(ids.shape)}")
    return ids.astype(np.int64)
