"""Which words of a growing text will stay: those on which two readings in a row agree.

The rule is LocalAgreement-2 (Macháček, Dabre, Bojar: Turning Whisper into Real-Time Transcription System, 2023).
"""

from __future__ import annotations

import sys

from edgephi.transcription.columns import Atom, atoms


class SettledText:
    """The text of one utterance while it grows. Words that are settled are never taken back by a later reading."""

    def __init__(self) -> None:
        self._settled: list[Atom] = []
        self._last: list[Atom] = []

    @property
    def settled(self) -> str:
        """The words that stay, one space apart."""
        return _text(self._settled)

    @property
    def tail(self) -> str:
        """What the last reading has behind them, which the next may change; begins with a space where one belongs.

        Empty where that reading contradicts what is settled.
        """
        count = len(self._settled)
        return _text(self._last[count:]) if self._last[:count] == self._settled else ""

    def observe(self, reading: str) -> str:
        """Take a new reading of all the audio so far.

        Returns:
            The words that are settled by it, to be appended to those before.
        """
        words = atoms(reading, sys.maxsize)
        agreed = 0
        while agreed < min(len(words), len(self._last)) and words[agreed] == self._last[agreed]:
            agreed += 1
        self._last = words
        count = len(self._settled)
        if agreed <= count or words[:count] != self._settled:
            return ""
        self._settled = words[:agreed]
        return _text(words[count:agreed])


def words_behind(settled: str, text: str) -> str:
    """What a text has behind words that it begins with, as `SettledText.tail`; empty if it begins with others."""
    before, words = atoms(settled, sys.maxsize), atoms(text, sys.maxsize)
    return _text(words[len(before) :]) if words[: len(before)] == before else ""


def _text(words: list[Atom]) -> str:
    return "".join(word.glue + word.text for word in words)
