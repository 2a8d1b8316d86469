"""Written tasks the language model learns from: copying, counting, tool calls and questions.

Half of all tasks is copying, because the same skill later reads
sounds and pictures.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edgephi_nano.sentences import (
    QUESTIONS,
    any_command,
    any_number,
    any_statement,
    is_held_out,
    number_words,
    on_side,
    random_words,
)  # fmt: skip
from edgephi_nano.tokenizer import ASSISTANT, END, USER
from edgephi_nano.tools import PARAMETERS, some_tools, tool_answer, tool_prompt
from edgephi_nano.vocabulary import COLOURS, SHAPES, WORDS

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class Task:
    """One exchange. `prompt` ends with the assistant tag; `answer` lacks the end token."""

    kind: str
    prompt: str
    answer: str


def user_turn(text: str) -> str:
    """A prompt of one user message."""
    return f"{USER}{text}{END}{ASSISTANT}"


def _glyphs(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _items(rng: random.Random, longest: int) -> tuple[str, str]:
    """Something to copy, and what it is called."""
    count = rng.randint(1, longest)
    kind = rng.randrange(6)
    if kind <= 1:
        return " ".join(rng.choices(WORDS, k=count)), "words"
    if kind == 2:
        return _glyphs(rng, DIGITS, count), "digits"
    if kind == 3:
        return _glyphs(rng, CAPITALS, count), "letters"
    if kind == 4:
        return _glyphs(rng, CAPITALS + DIGITS, count), "text"
    draw = rng.choice((lambda r: any_command(r).text, any_statement, any_number))
    return on_side(draw, rng, held_out=False), "words"


def repeat(rng: random.Random, longest: int) -> Task:
    """Say again what was just said."""
    items, _ = _items(rng, longest)
    return Task("repeat", user_turn(f"Repeat: {items}"), items)


def repeat_distant(rng: random.Random, longest: int) -> Task:
    """Say again one of two things, with other text before, between and after."""
    filler = [random_words(rng, rng.randint(0, 12)) for _ in range(3)]
    (first, kind), (second, other) = _items(rng, longest), _items(rng, longest)
    while other == kind:
        second, other = _items(rng, longest)
    wanted, name = rng.choice(((first, kind), (second, other)))
    text = f"{filler[0]}. The {kind}: {first}. {filler[1]}. The {other}: {second}. {filler[2]}. Repeat the {name}"
    return Task("distant", user_turn(text), wanted)


def repeat_before(rng: random.Random, longest: int) -> Task:
    """Say again what stands in front of the instruction."""
    items, kind = _items(rng, longest)
    return Task("before", user_turn(f"{items}. Repeat the {kind} before"), items)


def arithmetic(rng: random.Random) -> Task:
    """Sums, differences and products; a tenth of the pairs is never trained."""
    sign = rng.choice(("plus", "minus", "times"))
    highest = 9 if sign == "times" else rng.choice((9, 99))
    a, b = rng.randint(0, highest), rng.randint(0, highest)
    if sign == "minus":
        a, b = max(a, b), min(a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b}[sign]
    return Task("arithmetic", user_turn(f"What is {a} {sign} {b}?"), str(result))


def spelling(rng: random.Random) -> Task:
    """A number between digits and words."""
    number = rng.randrange(rng.choice((20, 100, 1000)))
    if rng.random() < 0.5:
        return Task("spelling", user_turn(f"Write {number} in words"), number_words(number))
    return Task("spelling", user_turn(f"Write {number_words(number)} in digits"), str(number))


def tool_call(rng: random.Random, *, held_out: bool = False) -> Task:
    """A smart-home command answered by a call of one of the offered tools."""
    command = on_side(any_command, rng, held_out=held_out)
    names = some_tools(rng, command.name, rng.choice((1, 2, 3, 3, 4, 6, len(PARAMETERS))))
    return Task("tool", tool_prompt(command.text, names), tool_answer(command))


def _sign(rng: random.Random) -> tuple[str, str, str]:
    content = _glyphs(rng, CAPITALS, rng.randint(2, 8))
    return f"The sign says {content}.", "What does the sign say?", content


def _number(rng: random.Random) -> tuple[str, str, str]:
    content = _glyphs(rng, DIGITS, rng.randint(1, 6))
    return f"The number {content} is shown.", "What number is shown?", content


def _shape(rng: random.Random) -> tuple[str, str, str]:
    colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    question, answer = rng.choice((("What colour is the shape?", colour), ("What shape is shown?", shape)))
    return f"A {colour} {shape} is shown.", question, answer


def _bars(rng: random.Random) -> tuple[str, str, str]:
    colours = rng.sample(COLOURS, rng.randint(2, 4))
    heights = rng.sample(range(1, 10), len(colours))
    listing = ", ".join(f"{colour} {height}" for colour, height in zip(colours, heights, strict=True))
    return f"The bars are {listing}.", "Which bar is tallest?", colours[heights.index(max(heights))]


def question(rng: random.Random) -> Task:
    """A question of the kind asked about pictures, with the content given in words."""
    content, asked, answer = rng.choice((_sign, _number, _shape, _bars))(rng)
    if rng.random() < 0.3:
        asked = asked[0].lower() + asked[1:-1]
        assert asked in QUESTIONS
    return Task("question", user_turn(f"{content} {asked}"), answer)


_Draw = Callable[[random.Random, int], Task]
_COPYING: tuple[tuple[float, _Draw], ...] = ((0.6, repeat), (0.2, repeat_before), (0.2, lambda rng, _: question(rng)))
_MIXTURE: tuple[tuple[float, _Draw], ...] = (
    (0.22, repeat),
    (0.18, repeat_distant),
    (0.12, repeat_before),
    (0.16, lambda rng, _: arithmetic(rng)),
    (0.10, lambda rng, _: spelling(rng)),
    (0.08, lambda rng, _: tool_call(rng)),
    (0.14, lambda rng, _: question(rng)),
)


def any_task(rng: random.Random, longest: int = 14, *, only_copying: bool = False, held_out: bool = False) -> Task:
    """One task of the training mixture.

    Args:
        rng: Decides everything.
        longest: Most items in anything to be copied.
        only_copying: Draw from the first lessons only.
        held_out: Pick a prompt that training never sees.
    """
    mixture = _COPYING if only_copying else _MIXTURE
    weights = [weight for weight, _ in mixture]
    while True:
        task = rng.choices(mixture, weights)[0][1](rng, longest)
        if task.kind == "tool":
            return tool_call(rng, held_out=True) if held_out else task
        if is_held_out(task.prompt) == held_out:
            return task
