"""Words added to a tokenizer beside its vocabulary: where a text holds them, by the rules of `tokenizers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as TextTokenizer

#: How the tokenizers of these models spell control tokens; some, such as Phi-4's for tools, are not marked `special`.
_CONTROL_SHAPE = re.compile(r"<\|[^<>]*\|>|<\uff5c[^<>]*\uff5c>", re.DOTALL)
#: Other spellings that a template may use as its own marks, such as `[INST]`.
_BRACKETED = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}", re.DOTALL)


def is_control_spelling(token: AddedToken) -> bool:
    """Whether an added token is a control token by what the tokenizer says or by its spelling."""
    return bool(token.special) or _CONTROL_SHAPE.fullmatch(token.content) is not None


def is_template_mark(token: AddedToken, template: str) -> bool:
    """Whether an added word is a bracketed mark that the chat template spells, so not for users to write."""
    return token.content in template and _BRACKETED.fullmatch(token.content) is not None


class AddedWords:
    """Cuts texts at added words, and normalizes what is left.

    The library itself looks for them, in tokenizers without any other word, so `normalized`, `lstrip`, `rstrip` and
    `single_word` mean what they mean in the reference. It looks for words that are not `normalized` first, in the text
    as it is, and for the others in what is left, normalized.

    Args:
        words: By id.
        normalizer: Of the whole tokenizer; None where it has none.
    """

    def __init__(self, words: Mapping[int, AddedToken], normalizer: Any) -> None:
        self._normalizer = normalizer
        self._bytes: dict[int, bytes] = {number: word.content.encode("utf-8") for number, word in words.items()}
        self._raw = _Finder({n: word.content for n, word in words.items() if not word.normalized}, words)
        self._late = _Finder({n: self._normal(word.content) for n, word in words.items() if word.normalized}, words)

    def __contains__(self, token_id: int) -> bool:
        return token_id in self._bytes

    def spelling(self, token_id: int) -> bytes:
        """What a word writes, in UTF-8."""
        return self._bytes[token_id]

    def split(self, text: str) -> list[str | int]:
        """The text, normalized, cut at the words in it, which become their ids."""
        pieces: list[str | int] = []
        for piece in self._raw.split(text):
            pieces += [piece] if isinstance(piece, int) else self._late.split(self._normal(piece))
        return pieces

    def _normal(self, text: str) -> str:
        normal: str = text if self._normalizer is None else self._normalizer.normalize_str(text)
        return normal


class _Finder:
    """Looks for spellings in a text, with the flags of their words."""

    def __init__(self, spellings: Mapping[int, str], words: Mapping[int, AddedToken]) -> None:
        self._tokenizer = TextTokenizer(models.BPE())
        self._ids: list[int] = []
        for number, spelling in spellings.items():
            flags = {name: getattr(words[number], name) for name in ("lstrip", "rstrip", "single_word")}
            if self._tokenizer.add_tokens([AddedToken(spelling, normalized=False, special=False, **flags)]):
                self._ids.append(number)

    def split(self, text: str) -> list[str | int]:
        if not self._ids:
            return [text] if text else []
        found = self._tokenizer.encode(text, add_special_tokens=False)
        pieces: list[str | int] = []
        position = 0
        for number, (start, end) in zip(found.ids, found.offsets, strict=True):
            if start > position:
                pieces.append(text[position:start])
            pieces.append(self._ids[number])
            position = end
        if position < len(text):
            pieces.append(text[position:])
        return pieces
