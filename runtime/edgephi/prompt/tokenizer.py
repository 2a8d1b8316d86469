"""Text to token ids and back.

The checkpoint's `tokenizer.json` is split in three: the vocabulary without its added tokens; added words, such as a
fine-tuned model's terms, which are text like any other; and control tokens, which no text can ever become and which
callers place on purpose. An added token is a control token if it is marked `special`, is spelled `<|...|>`, or has a
meaning to the generation loop. A bracketed one that the chat template spells, such as `[INST]` or `<think>`, cannot be
written by users either, but is shown in replies.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as TextTokenizer
from tokenizers.decoders import ByteLevel

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.prompt.added_tokens import AddedWords, is_control_spelling, is_template_mark


def _byte_alphabet() -> dict[int, int]:
    """Code points of the characters that stand for bytes in a byte-level vocabulary, and those bytes.

    Printable bytes stand for themselves; the others, in order, are the characters from 256 on.
    """
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in itself]
    return {byte: byte for byte in itself} | {256 + i: byte for i, byte in enumerate(others)}


_BYTES = _byte_alphabet()


@dataclass(frozen=True, slots=True)
class ControlToken:
    """A token that means something to the model beyond its letters, such as `<|end|>`.

    Attributes:
        id: Its number.
        content: Its spelling.
        lstrip: White space before it belongs to it.
        rstrip: White space after it belongs to it.
        single_word: Only matched as a whole word (not used by the models served here).
        normalized: Matched after normalization (their tokenizers have no normalizer).
        special: Left out of decoded text by the reference.
        shown: Part of a reply's text.
    """

    id: int
    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = True
    shown: bool = False


class Tokenizer:
    """A byte-level tokenizer whose control tokens cannot be written as text.

    Args:
        text: The text of `tokenizer.json`.
        where: Its path, for messages.
        template: The chat template, whose marks users cannot write.
        control_ids: Added tokens with a meaning to the generation loop, whatever they are spelled like.

    Raises:
        ArtifactError: Not a tokenizer file.
    """

    def __init__(self, text: str, where: str, *, template: str = "", control_ids: Collection[int] = ()) -> None:
        whole = _read(text, where)
        added: dict[int, AddedToken] = whole.get_added_tokens_decoder()
        hidden = {n for n, token in added.items() if n in control_ids or is_control_spelling(token)}
        guarded = {n for n, token in added.items() if n not in hidden and is_template_mark(token, template)}
        listed = [_control_token(n, added[n], shown=n in guarded) for n in added if n in hidden | guarded]
        self.control: dict[str, ControlToken] = {token.content: token for token in listed}
        self._control_ids = frozenset(token.id for token in listed)
        self._shown = {token.id: token.content.encode("utf-8") for token in listed if token.shown}
        self._words = AddedWords(
            {n: token for n, token in added.items() if n not in self._control_ids}, whole.normalizer
        )
        self._text = _without_added(whole)
        # The longest spelling first: `<|endoftext10|>` must win over a token that begins like it.
        spellings = sorted(map(re.escape, self.control), key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(spellings)})") if spellings else None

    @classmethod
    def load(cls, path: Path, *, template: str = "", control_ids: Collection[int] = ()) -> Tokenizer:
        """Read a `tokenizer.json`. Other arguments are those of the class.

        Raises:
            ArtifactError: It cannot be read or is not a tokenizer.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error})") from error
        return cls(text, str(path), template=template, control_ids=control_ids)

    def is_control(self, token_id: int) -> bool:
        """Whether the id is a control token, which no text becomes."""
        return token_id in self._control_ids

    def split(self, text: str) -> list[str | ControlToken]:
        """Cut trusted text, such as a chat template's, at the control tokens spelled in it."""
        if self._pattern is None:
            return [text] if text else []
        return [self.control.get(piece, piece) for piece in self._pattern.split(text) if piece]

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text; a control token spelled in it becomes ordinary letters, an added word its token.

        Raises:
            ConfigError: The text is not valid Unicode.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ConfigError(f"the text is not valid Unicode: {error.reason} at character {error.start}") from None
        ids: list[int] = []
        for piece in self._words.split(text):
            ids += [piece] if isinstance(piece, int) else self._plain_ids(piece)
        return ids

    def _plain_ids(self, text: str) -> list[int]:
        ids = self._ids(text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # The vocabulary has control tokens among its words, and is one that takes a whole word as it is.
        return [token_id for letter in text for token_id in self._ids(letter) if token_id not in self._control_ids]

    def _ids(self, text: str) -> list[int]:
        return list(self._text.encode(text, add_special_tokens=False).ids)

    def encode(self, items: Sequence[str | ControlToken]) -> list[int]:
        """Ids of text and control tokens in order.

        Neighbouring strings are encoded as one run, and white space beside a control token that claims it is
        dropped, so the result equals the reference's on text that spells no control token.
        """
        ids: list[int] = []
        run = ""
        before: ControlToken | None = None
        for item in [*items, None]:
            if isinstance(item, str):
                run += item
                continue
            if before is not None and before.rstrip:
                run = run.lstrip()
            if item is not None and item.lstrip:
                run = run.rstrip()
            ids += self.encode_text(run)
            run = ""
            if item is not None:
                ids.append(item.id)
            before = item
        return ids

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of ids, hidden control tokens left out, bytes that are not UTF-8 replaced."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """What a token writes, which may be part of a character; nothing for a hidden token or an unused id."""
        if token_id in self._words:
            return self._words.spelling(token_id)
        if token_id in self._shown:
            return self._shown[token_id]
        word: str | None = None if token_id in self._control_ids else self._text.id_to_token(token_id)
        if word is None:
            return b""
        try:
            return bytes(_BYTES[ord(character)] for character in word)
        except KeyError:  # a word outside the byte alphabet stands for itself
            return word.encode("utf-8")


def _read(text: str, where: str) -> TextTokenizer:
    """The whole tokenizer. Raises ArtifactError."""
    try:
        whole = TextTokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise ArtifactError(f"{where}: not a usable tokenizer ({error})") from error
    if not isinstance(whole.decoder, ByteLevel):
        raise ArtifactError(f"{where}: not a byte-level tokenizer, the only kind these models have")
    return whole


def _control_token(number: int, token: AddedToken, *, shown: bool) -> ControlToken:
    flags = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word", "normalized", "special")}
    return ControlToken(id=number, content=token.content, shown=shown, **flags)


def _without_added(whole: TextTokenizer) -> TextTokenizer:
    """The same without added tokens and normalizer. The vocabulary is shared: another would take longer."""
    plain = TextTokenizer(whole.model)
    plain.decoder = whole.decoder
    if whole.pre_tokenizer is not None:
        plain.pre_tokenizer = whole.pre_tokenizer
    return plain
