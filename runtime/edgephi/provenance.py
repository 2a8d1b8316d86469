"""Which characters of a rendered template came from users: no text of theirs may become a control token.

The template is rendered with the texts as they are, which gives the prompt. If a text has a character that control
tokens begin with, such as `<`, the template is rendered again with that character replaced by one of private use. When
both renderings are equal but for the replacements, a control token spelled in the second is the template's own: its
first character can have come from no text. Where a template acts on the replaced character, so that the renderings
differ, the tokens' other characters are tried, and if that fails too, the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from edgephi.errors import ConfigError

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
    render: Callable[[Callable[[str], str]], str], texts: str, spellings: Iterable[str], fresh: Iterator[str]
) -> Rendering:
    """Render a template so that its control tokens can be told from users' text.

    Args:
        render: Renders with a function applied to every text of a user.
        texts: All of these texts.
        spellings: Of the control tokens.
        fresh: Characters that occur nowhere.

    Raises:
        ConfigError: The template acts on characters of control tokens in a text.
    """
    plain = render(str)
    present, tokens = set(texts), [spelling for spelling in spellings if spelling]
    for alphabet in _alphabets(tokens):
        replaced = {character: next(fresh) for character in sorted(alphabet & present)}
        if not replaced:
            return Rendering(plain, {})
        table = str.maketrans(replaced)
        result = Rendering(render(lambda text, table=table: text.translate(table)), replaced)  # type: ignore[misc]
        if result.real(result.text) == plain:
            return result
    raise ConfigError(
        "a message holds characters of this model's control tokens, and the model's chat template acts on them, so "
        f"text and control tokens cannot be told apart; leave out {' '.join(sorted({t[0] for t in tokens} & present))}"
    )


def _alphabets(tokens: list[str]) -> Iterator[set[str]]:
    """Sets of characters of which every token has one: all first ones, all last ones, all second ones..."""
    longest = max(map(len, tokens), default=0)
    seen: list[set[str]] = []
    for number in count():
        if number > min(longest, 3):
            return
        for place in (number, -1 - number):
            alphabet = {token[place] if -len(token) <= place < len(token) else token[0] for token in tokens}
            if alphabet not in seen:
                seen.append(alphabet)
                yield alphabet
