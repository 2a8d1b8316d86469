"""Work without a model for the workers of `edgephi batch`: worker processes import it, as they do the real one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ConfigError, EdgeError
from edgephi_batch.items import Item
from edgephi_batch.row import Row


@dataclass(frozen=True, kw_only=True)
class ScriptedWork:
    """Does what an item's prompt says.

    Attributes:
        folder: For marks of what was begun, so that an item can behave otherwise the second time.
        opening: `fails`, `ends` the process, or nothing.
    """

    folder: str
    opening: str = ""

    def open(self) -> Callable[[Item, Callable[[], bool]], Row]:
        if self.opening == "fails":
            raise ConfigError("no such model here")
        if self.opening == "ends":
            os._exit(9)
        return self._do

    def failed(self, item: Item, error: str, elapsed_s: float) -> Row:
        return Row.of({"id": item.id, "error": error, "elapsed_s": round(elapsed_s, 3), "text": None})

    def _do(self, item: Item, should_stop: Callable[[], bool]) -> Row:
        word, _, argument = (item.prompt or "").partition(" ")
        first = Path(self.folder, item.id.replace("/", "_"))
        was_begun = first.exists()
        first.touch()
        if word == "end" or (word == "end-once" and not was_begun):
            os._exit(9)
        if word == "fail":
            raise EdgeError(argument)
        if word == "break":
            raise ZeroDivisionError(argument)
        if word == "wait":
            end_s = time.monotonic() + float(argument)
            while time.monotonic() < end_s and not should_stop():
                time.sleep(0.01)
        if word == "sleep":
            time.sleep(float(argument))
        return Row.of(
            {"id": item.id, "error": None, "elapsed_s": 0.0, "text": f"{item.prompt} done", "pid": os.getpid()}
        )


def items_of(*prompts: str) -> list[Item]:
    """Items `0`, `1`, ... with these prompts."""
    return [Item(id=str(number), prompt=prompt) for number, prompt in enumerate(prompts)]
