"""The content of one image or recording, and its digest, which saved prefixes hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MediaContent:
    """Everything an encoder gets of one image or recording, under names that never change.

    Saved prefixes hold the digest of these names and values, so a name outlives renamed classes and fields.

    Attributes:
        kind: What it is.
        arrays: Name and values of each array, in a fixed order. Not copied.
        numbers: Name and value of each number, likewise.
    """

    kind: str
    arrays: tuple[tuple[str, NDArray[Any]], ...]
    numbers: tuple[tuple[str, int], ...]


def media_digest(content: MediaContent, projection: str | None) -> bytes:
    """sha256 of everything an encoder gets: equal for the same image from a path, bytes or an array.

    Args:
        content: Its arrays and numbers.
        projection: The encoder's output layer; it changes the rows.
    """
    digest = hashlib.sha256(f"{content.kind}/{projection}".encode())
    for name, array in content.arrays:
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    for name, number in content.numbers:
        digest.update(f"{name} {int(number)}".encode())
    return digest.digest()
