"""What people say to the demo model: commands, numbers, short sentences and questions.

A text belongs to the training or the held-out side for ever, by a hash of itself.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from edgephi_nano.vocabulary import (
    ANIMALS,
    COLOURS,
    FEELINGS,
    HOMOPHONES,
    ONES,
    QUALITIES,
    RELATIONS,
    ROOMS,
    SHAPES,
    TENS,
    THINGS,
    WORDS,
)  # fmt: skip

T = TypeVar("T")

SWITCHED = ("lamp", "light", "fan", "heater", "alarm", "music", "radio", "camera", "oven")
OPENED = ("window", "door", "blind")
STARTED = ("timer", "camera", "oven", "radio", "music")
GREETINGS = ("hello", "good morning", "good evening")
QUESTIONS = (
    "what does the sign say",
    "what number is shown",
    "what colour is the shape",
    "what shape is shown",
    "which bar is tallest",
)


@dataclass(frozen=True, slots=True)
class Command:
    """A smart-home request. `name` and `arguments` are the tool call that carries it out."""

    text: str
    name: str
    arguments: dict[str, str | int] = field(hash=False)


def is_held_out(text: str) -> bool:
    """Whether `text` is reserved for testing: one in ten, decided by its CRC-32 alone."""
    return zlib.crc32(text.encode("utf-8")) % 10 == 0


def number_words(number: int) -> str:
    """0..999 in words: 347 -> "three hundred forty seven"."""
    if number >= 100:
        rest = number % 100
        return f"{ONES[number // 100]} hundred" + (f" {number_words(rest)}" if rest else "")
    if number < 20:
        return ONES[number]
    return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")


def _switch(rng: random.Random) -> Command:
    verb, state = rng.choice(("turn", "switch")), rng.choice(("on", "off"))
    room, device = rng.choice(ROOMS), rng.choice(SWITCHED)
    return Command(f"{verb} {state} the {room} {device}", f"turn_{state}", {"device": device, "room": room})


def _open(rng: random.Random) -> Command:
    verb, room, device = rng.choice(("open", "close")), rng.choice(ROOMS), rng.choice(OPENED)
    return Command(f"{verb} the {room} {device}", verb, {"device": device, "room": room})


def _lock(rng: random.Random) -> Command:
    room, device = rng.choice(ROOMS), rng.choice(("door", "window"))
    return Command(f"lock the {room} {device}", "lock", {"device": device, "room": room})


def _start(rng: random.Random) -> Command:
    verb, room, device = rng.choice(("start", "stop")), rng.choice(ROOMS), rng.choice(STARTED)
    return Command(f"{verb} the {device} in the {room}", verb, {"device": device, "room": room})


def _heat(rng: random.Random) -> Command:
    room, degrees = rng.choice(ROOMS), rng.randint(5, 30)
    text = f"set the {room} heater to {number_words(degrees)} degrees"
    return Command(text, "set_heater", {"room": room, "degrees": degrees})


def _dim(rng: random.Random) -> Command:
    room, device, percent = rng.choice(ROOMS), rng.choice(("light", "lamp")), rng.randrange(5, 100, 5)
    text = f"dim the {room} {device} to {number_words(percent)} percent"
    return Command(text, "dim", {"device": device, "room": room, "percent": percent})


def _timer(rng: random.Random) -> Command:
    minutes = rng.randint(2, 90)
    return Command(f"set a timer for {number_words(minutes)} minutes", "set_timer", {"minutes": minutes})


def _music(rng: random.Random) -> Command:
    what, room = rng.choice(("music", "radio")), rng.choice(ROOMS)
    spoken = "the radio" if what == "radio" else what
    return Command(f"play {spoken} in the {room}", "play", {"device": what, "room": room})


_COMMANDS: tuple[Callable[[random.Random], Command], ...] = (
    _switch, _switch, _open, _lock, _start, _heat, _dim, _timer, _music,
)  # fmt: skip


def any_command(rng: random.Random) -> Command:
    """One request, sometimes with "please" or "now" around it."""
    command = rng.choice(_COMMANDS)(rng)
    before, after = rng.choice((("", ""), ("", ""), ("please ", ""), ("", " please"), ("", " now"), ("now ", "")))
    return Command(f"{before}{command.text}{after}", command.name, command.arguments)


def any_number(rng: random.Random) -> str:
    """A number in words, small ones as often as large ones."""
    return number_words(rng.randrange(rng.choice((20, 100, 1000))))


def _noun_phrase(rng: random.Random, nouns: tuple[str, ...]) -> str:
    article = rng.choice(("the", "a", "my"))
    quality = rng.choice((*QUALITIES, *COLOURS, "")) if rng.random() < 0.7 else ""
    noun = rng.choice(nouns)
    if article == "a" and (quality or noun)[0] in "aeiou":
        article = "the"  # "an" is not in the vocabulary
    return " ".join(part for part in (article, quality, noun) if part)


def any_statement(rng: random.Random) -> str:
    """A short grammatical sentence, such as "the old horse is behind my red house"."""
    subject = _noun_phrase(rng, ANIMALS)
    target = _noun_phrase(rng, rng.choice((THINGS, ANIMALS, SHAPES)))
    kind = rng.randrange(4)
    if kind == 0:
        return f"{subject} {rng.choice(FEELINGS)} {target}"
    if kind == 1:
        return f"{subject} is {rng.choice((*RELATIONS, 'in'))} {target}"
    if kind == 2:
        return f"{_noun_phrase(rng, THINGS)} is {rng.choice((*COLOURS, *QUALITIES))} and {rng.choice(QUALITIES)}"
    return f"{rng.choice(GREETINGS)} {subject} is in the {rng.choice(ROOMS)}"


def random_words(rng: random.Random, count: int) -> str:
    """`count` vocabulary words in no order at all, without those only a sentence can tell apart."""
    return " ".join(rng.choice(_DISTINCT) for _ in range(count))


_DISTINCT = tuple(word for word in WORDS if word not in HOMOPHONES)


def on_side(draw: Callable[[random.Random], T], rng: random.Random, *, held_out: bool) -> T:
    """Draw until the text (of a `Command`, or the string itself) is on the wanted side of the split."""
    while True:
        drawn = draw(rng)
        if is_held_out(getattr(drawn, "text", drawn)) == held_out:
            return drawn
