"""The times of one reply, on either side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One reply. Seconds count from the moment the request was made.

    Attributes:
        first_s: To the first text.
        finish_s: To the notice that no more text comes.
        end_s: To the end of the answer.
        text: The whole reply.
        new_tokens: Generated.
        num_texts: Pieces of text; fewer than tokens where some write nothing alone.
        read_s: Reading its text and media before any encoder or decoder runs; None where the side does not report it.
        num_before: Tokens up to and with the first text; None where the side does not report it.
    """

    first_s: float
    finish_s: float
    end_s: float
    text: str
    new_tokens: int
    num_texts: int
    read_s: float | None = None
    num_before: int | None = None

    @property
    def decode_s(self) -> float:
        """From the first text to the last token."""
        return self.finish_s - self.first_s

    @property
    def token_s(self) -> float:
        """A token's share of the time after the first text; usually the first token's."""
        return self.decode_s / max(self.new_tokens - (self.num_before or 1), 1)

    @property
    def other_s(self) -> float:
        """All but decode: until the first text, and from the last token to the end."""
        return self.end_s - self.decode_s
