"""`Engine`: what answers items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.identity import EngineIdentity
from edgephi_evaluate.suite import Adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRules:
    """How items of a suite are answered; always greedily.

    Attributes:
        max_new_tokens: Most tokens of a reply.
        adapter: See Suite.
        keeps_cache: See Suite.
    """

    max_new_tokens: int
    adapter: Adapter = "auto"
    keeps_cache: bool = False


class Engine(Protocol):
    """A loaded model, or a server that has one."""

    @property
    def identity(self) -> EngineIdentity:
        """What the answers depend on."""

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """The greedy reply to one item.

        Raises:
            EdgeError: The item cannot be answered.
            OSError: A file of its media cannot be read.
        """
