"""Texts that end a reply, wherever token boundaries fall."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets a reply's text through up to the first stop string.

    The stop string that is complete first ends the reply, so how the text is cut into pieces makes no difference. Of
    two that are complete at the same character, the longer one counts.

    Args:
        stops: Texts of one character or more.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._stopped = False

    def feed(self, text: str) -> tuple[str, bool]:
        """What can be shown now, and whether the reply has ended. After the end nothing is shown any more."""
        if self._stopped:
            return "", True
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held, self._stopped = "", True
            return text[: min(found)[1]], True
        safe = len(text) - self._num_pending(text)
        self._held = text[safe:]
        return text[:safe], False

    def flush(self) -> str:
        """At the reply's end: what was held back, as it did not become a stop string."""
        held, self._held = self._held, ""
        return held

    def _num_pending(self, text: str) -> int:
        """Length of the longest end of `text` that is the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
