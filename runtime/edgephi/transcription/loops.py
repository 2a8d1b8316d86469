"""Has a reply begun to repeat itself?

A speech model that loses its place writes the same few tokens until it is stopped, whatever the language.
"""

from __future__ import annotations

_LONGEST = 40  # tokens of a repeated sentence
_LEAST_TIMES = 4
_LEAST_TOKENS = 16  # people do say "no, no, no, no"


class LoopGuard:
    """Watches the tokens of one reply."""

    def __init__(self) -> None:
        self._ids: list[int] = []

    def push(self, token_id: int) -> bool:
        """Add a token; whether the reply now ends in a run of the same tokens.

        A run is n tokens, 1 to 40, at least 4 times in a row and 16 tokens long.
        """
        ids = self._ids
        ids.append(token_id)
        for size in range(1, min(_LONGEST, len(ids) // _LEAST_TIMES) + 1):
            if ids[-1] != ids[-1 - size]:
                continue
            length = max(_LEAST_TIMES * size, _LEAST_TOKENS)
            if length <= len(ids) and ids[-length:-size] == ids[size - length :]:
                return True
        return False
