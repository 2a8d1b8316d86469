"""`edgephi` whose texts of speech end after as many tokens as speech of that length has: random weights end none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from edgephi import DoneEvent, Event, Model
from edgephi.cli.main import program

#: Of speech in English: 150 words a minute, 1.2 tokens a word.
TOKENS_PER_S = 3

_stream = Model.stream


def _ending(model: Model, *args: Any, **fields: Any) -> Iterator[Event]:
    for event in _stream(model, *args, **fields):
        if isinstance(event, DoneEvent) and event.reply.finish_reason == "length":
            yield DoneEvent(replace(event.reply, finish_reason="stop"))
        else:
            yield event


if __name__ == "__main__":
    limits = patch.multiple("edgephi.transcription.transcriber", _TOKENS_PER_S=TOKENS_PER_S, _TOKENS_AT_LEAST=1)
    with limits, patch.object(Model, "stream", _ending):
        program()
