"""Which characters of a rendered template came from users: no text of theirs may become a control token.

The template is rendered with the texts as they are, which gives the prompt. Then it is rendered with every character
of the texts that is in any control token replaced by one of private use. When both renderings are equal but for the
replacements, a control token spelled in the second is the template's own. Where a template acts on what was replaced,
so that the renderings differ, less is replaced: only the characters that control tokens begin with, or those that they
end with, and so on; every token that a text spells has one. Where a template acts on all of these, only those that
spell a control token in a text are replaced; then the control tokens must be those of the renderings before, which no
text can have made. If that fails too, the request is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from edgephi.base.errors import ConfigError, EdgeError

Change = Callable[[str], str]

_PRIVATE_USE = range(0xF0000, 0xFFFFE)


def unused_characters(text: str) -> Iterator[str]:
    """Characters of private use that a text does not contain, without end but for their number."""
    taken = set(text)
    return (character for character in map(chr, _PRIVATE_USE) if character not in taken)


class Rendering:
    """A rendered text in which users' characters that could begin a control token are replaced.

    Attributes:
        text: With the replacements, of the same length as the real one.
    """

    def __init__(self, text: str, replaced: Mapping[str, str]) -> None:
        self.text = text
        self._back = {ord(substitute): original for original, substitute in replaced.items()}

    def real(self, piece: str) -> str:
        """A piece of the text as users wrote it."""
        return piece.translate(self._back) if self._back else piece


def render_apart(
    render: Callable[[Change], str], texts: str, spellings: Iterable[str], fresh: Iterator[str]
) -> Rendering:
    """Render a template so that its control tokens can be separated from users' text.

    Args:
        render: Renders with a function applied to every text of a user.
        texts: All of these texts.
        spellings: Of the control tokens.
        fresh: Characters that occur nowhere.

    Raises:
        ConfigError: The template acts on control tokens in a text.
    """
    plain = render(str)
    tokens = sorted(filter(None, spellings), key=len, reverse=True)
    control = re.compile("|".join(map(re.escape, tokens))) if tokens else None
    present, tried = set(texts), list[list[str]]()
    for alphabet in _alphabets(tokens):
        replaced = {character: next(fresh) for character in sorted(alphabet & present)}
        result = _rendering(render, _replacing(replaced), replaced) if replaced else Rendering(plain, {})
        if result is not None and result.real(result.text) == plain:
            return result
        tried += [_found(control, result.text)] if result is not None else []
    if control is None:
        return Rendering(plain, {})
    replaced = {character: next(fresh) for character in sorted({token[0] for token in tokens} & present)}
    result = _rendering(render, _replacing_spelled(tokens, replaced), replaced)
    is_same = result is not None and result.real(result.text) == plain
    if result is not None and is_same and tried and all(found == _found(control, result.text) for found in tried):
        return result
    raise ConfigError(
        "a message holds characters of this model's control tokens, and the model's chat template acts on them, so "
        f"text and control tokens cannot be distinguished; leave out {' '.join(sorted(replaced))}"
    )


def _rendering(render: Callable[[Change], str], change: Change, replaced: Mapping[str, str]) -> Rendering | None:
    """None where the template fails on replaced texts, as when it looks for a key of a tool's."""
    try:
        return Rendering(render(change), replaced)
    except EdgeError:
        return None


def _replacing(replaced: Mapping[str, str]) -> Change:
    table = str.maketrans(dict(replaced))
    return lambda text: text.translate(table)


def _replacing_spelled(tokens: list[str], replaced: Mapping[str, str]) -> Change:
    """Replaces the first character of every control token in a text, in any case of its letters."""
    spelled = re.compile("|".join(map(re.escape, tokens)), re.IGNORECASE)
    return lambda text: spelled.sub(lambda match: replaced.get(match[0][0], match[0][0]) + match[0][1:], text)


def _found(control: re.Pattern[str] | None, text: str) -> list[str]:
    return control.findall(text) if control is not None else []


def _alphabets(tokens: list[str]) -> Iterator[set[str]]:
    """Sets of characters of which every token has one: all, the first ones, the last ones, the second ones..."""
    longest = max(map(len, tokens), default=0)
    seen = [set("".join(tokens))]
    yield seen[0]
    for number in count():
        if number > min(longest, 3):
            return
        for place in (number, -1 - number):
            alphabet = {token[place] if -len(token) <= place < len(token) else token[0] for token in tokens}
            if alphabet not in seen:
                seen.append(alphabet)
                yield alphabet
