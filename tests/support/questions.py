"""Questions for other runtimes: tasks of nano's training, whose answers are no near ties, and unusual signs."""

from __future__ import annotations

import random

_WORDS = (
    "turn",
    "on",
    "off",
    "the",
    "kitchen",
    "light",
    "lamp",
    "radio",
    "window",
    "is",
    "red",
    "blue",
    "cat",
    "house",
)
_SIGNS = (
    "hello",
    "turn on the kitchen light",
    "Tell me a story, it's about 12345 lamps!",
    "naïve 日本 people — ½ of 1,000.5 €",
    "  two  spaces\tand a tab ",
    "<b>{\"x\": [1, 2]}</b> && 'quotes'",
    "🙂 can you read this?",
)


def tasks(count: int) -> tuple[str, ...]:
    """So many texts to repeat, of one line each, always the same."""
    chooser = random.Random(0)
    kinds = (_WORDS, "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    made = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        items = chooser.choices(kind, k=chooser.randint(2, 8))
        made.append("Repeat: " + (" " if kind is _WORDS else "").join(items))
    return tuple(made)


def questions(count: int) -> tuple[str, ...]:
    """Signs that tokenizers could read otherwise, and tasks: so many in all."""
    return (*_SIGNS, *tasks(count - len(_SIGNS)))


def token_ids(count: int, seed: int = 1) -> list[int]:
    """So many ordinary tokens of nano's vocabulary, without sense."""
    chooser = random.Random(seed)
    return [chooser.randrange(3, 700) for _ in range(count)]
