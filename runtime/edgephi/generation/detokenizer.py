"""A reply's text, token by token: bytes of an incomplete character are held back."""

from __future__ import annotations

import codecs
from typing import Protocol


class ByteVocabulary(Protocol):
    """What the stream needs of a tokenizer."""

    def token_bytes(self, token_id: int) -> bytes:
        """What the token writes; nothing for a control token."""


class TextStream:
    """Turns ids into text as they come, never cutting a character in two, and without control tokens.

    The pieces joined, `flush` included, equal the text of all ids decoded at once.
    """

    def __init__(self, tokenizer: ByteVocabulary) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token_id: int) -> str:
        """The text that this id completes; bytes that can never become a character show as U+FFFD."""
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """At the reply's end: an unfinished character shows as one U+FFFD."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text
