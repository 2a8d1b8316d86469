"""English as OpenASR compares it: until 2025 by Whisper's normalizer, one rule less; since 2026 with more rules."""

from __future__ import annotations

import functools
import re
from typing import Any

from edgephi_evaluate.extras import need

#: The leaderboard's copy of the normalizer does not turn "cause" into "because".
_DROPPED = r"\bcause\b"


def english_2025(text: str, language: str = "en") -> str:  # noqa: ARG001 - as every normalizer
    """Lower case, numbers as digits, British spellings as American, no punctuation."""
    return str(_normalizer()(text))


@functools.cache
def _normalizer() -> Any:
    made = need("whisper_normalizer.english", "to compare English transcripts").EnglishTextNormalizer()
    made.replacers.pop(_DROPPED, None)
    return made


_FILLERS = r"\b(hmm+|mm+|mhm+|mm-hmm|uh+|um+|uhm|er|erm|ah|uh-huh)\b"
#: After these alone is 's a verb; after names and nouns it is a possessive.
_PRONOUNS = "he|she|it|that|this|there|here|what|who|where|when|how|why|everyone|everybody|someone|somebody|let"
_POSSESSIVE = rf"\b(?!(?:{_PRONOUNS})'s\b)([a-z]+)'s\b"
_ACRONYM = r"\b(?:[a-z]\.? ){1,}[a-z]\b(?!')"


def english_2026(text: str, language: str = "en") -> str:  # noqa: ARG001 - as every normalizer
    """As 2025, and more fillers go, 's is a verb after pronouns only, and letters that are spelled out are one word."""
    text = re.sub(r"\s*\.{3,}\s*", " ", text.lower())
    text = re.sub(_FILLERS, " ", text)
    text = re.sub(_POSSESSIVE, r"\1s", text)
    text = re.sub(r"\b((?:[a-z]\.\s?){2,})('?s\b)?", _joined, text)
    plain = " ".join(english_2025(text).split())
    return re.sub(_ACRONYM, _joined_letters, plain)


def _joined(found: re.Match[str]) -> str:
    return "".join(found[1].replace(".", "").split()) + ("s" if found[2] else "") + " "


def _joined_letters(found: re.Match[str]) -> str:
    """Three letters or more, or two that are no words of their own."""
    letters = found[0].replace(".", "").split()
    return "".join(letters) if len(letters) > 2 or not {"a", "i"} & set(letters) else found[0]
