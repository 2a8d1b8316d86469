"""Other languages as OpenASR compares them: diacritics kept, digits as words, compounds joined; CJK by characters."""

from __future__ import annotations

import re
import unicodedata

from edgephi_evaluate.extras import need

#: Languages that are compared character by character.
BY_CHARACTER = ("zh", "ja")


def multilingual(text: str, language: str) -> str:
    """Lower case without brackets, marks and symbols, numbers in the language's words; for zh and ja characters.

    Raises:
        ConfigError: A package of the extra is missing.
    """
    if language in BY_CHARACTER:
        return characters(text)
    text = _without_marks(_without_brackets(text.lower()))
    words = need("num2words", "to write numbers as words").num2words
    text = re.sub(r"\d+", lambda found: f" {words(int(found[0]), lang=language)} ", text)
    return " ".join(_without_marks(text).split())


def characters(text: str, language: str = "") -> str:  # noqa: ARG001 - as every normalizer
    """Lower case without brackets, marks and symbols, a space between characters.

    Raises:
        ConfigError: whisper-normalizer is missing.
    """
    made = need("whisper_normalizer.basic", "to compare characters").BasicTextNormalizer(
        remove_diacritics=False, split_letters=True
    )
    return str(made(text)).strip()


def _without_brackets(text: str) -> str:
    return re.sub(r"\(([^)]+?)\)", "", re.sub(r"[<\[][^>\]]*[>\]]", "", text))


def _without_marks(text: str) -> str:
    """NFKC, with a space for every mark, symbol and punctuation sign."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(" " if unicodedata.category(one)[0] in "MSP" else one for one in composed)
