"""How long requests take on this machine, as far as those before them show."""

from __future__ import annotations

_WEIGHT = 0.2


class Pace:
    """A moving average of the seconds that a request holds its turn."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def note(self, seconds: float) -> None:
        """A request took so long."""
        self._mean_s = seconds if self._mean_s is None else (1 - _WEIGHT) * self._mean_s + _WEIGHT * seconds

    def wait_s(self, before: int) -> float:
        """Estimated wait behind so many requests."""
        return before * (1.0 if self._mean_s is None else self._mean_s)
