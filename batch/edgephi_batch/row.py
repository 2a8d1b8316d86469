"""One row of the results, as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The outcome of one item.

    Attributes:
        id: Of the item.
        is_failed: Whether it has an error in the place of a result.
        line: One JSON object with at least `id` and `error` (null, or a line), without a line break.
    """

    id: str
    is_failed: bool
    line: str

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Self:
        """The row of values that JSON can hold.

        Args:
            fields: With `id` and `error`, the others in the order of the line.
        """
        # JSON of ASCII alone: file names may hold bytes that are no characters.
        return cls(id=str(fields["id"]), is_failed=fields["error"] is not None, line=json.dumps(fields))
