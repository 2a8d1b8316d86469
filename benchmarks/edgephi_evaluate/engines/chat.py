"""What engines on this machine have in common: a conversation as messages, and the texts of a reply's ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.item import Item

#: Where media go; without any they lead the last user turn.
TAG = re.compile(r"<\|(image|audio)_(\d+)\|>")


def messages_of(item: Item, *, tagged: bool = False) -> list[dict[str, Any]]:
    """The turns of an item in the OpenAI chat shape.

    Args:
        item: The item.
        tagged: Whether the tags of media that no turn names are written before the last user turn: images, then audio.
    """
    tags = ""
    if tagged and not any(TAG.search(turn.text) for turn in item.turns):
        kinds = (("image", item.images), ("audio", item.audio))
        tags = "".join(f"<|{kind}_{number}|>" for kind, media in kinds for number, _ in enumerate(media, start=1))
    last = max(number for number, turn in enumerate(item.turns) if turn.role == "user")
    return [
        {
            "role": turn.role,
            "content": f"{tags if number == last else ''}{turn.text}",
            **({} if turn.tools is None else {"tools": turn.tools}),
        }
        for number, turn in enumerate(item.turns)
    ]


class ReplyTexts:
    """Turns ids into answers.

    Args:
        path: tokenizer.json.
        ends: Ids that end a reply.
    """

    def __init__(self, path: Path, ends: Iterable[int]) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._ends = frozenset(ends)

    def marked(self, ids: Sequence[int]) -> str:
        """With control tokens, but without the one that ended the reply."""
        return self._decoded(ids, skip=False)

    def answer(self, ids: tuple[int, ...], seconds: Seconds) -> Answer:
        """All that is known of a reply; `finish_reason` is `stop` where it was ended, else `length`."""
        return Answer(
            text=self._decoded(ids, skip=True),
            marked_text=self.marked(ids),
            token_ids=ids,
            new_tokens=len(ids),
            finish_reason="stop" if set(ids[-1:]) & self._ends else "length",
            seconds=seconds,
        )

    def _decoded(self, ids: Sequence[int], *, skip: bool) -> str:
        return str(self._tokenizer.decode([one for one in ids if one not in self._ends], skip_special_tokens=skip))
