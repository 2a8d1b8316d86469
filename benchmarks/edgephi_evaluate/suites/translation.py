"""Speech translation: CoVoST 2 and FLEURS, asked as the model card asks."""

from __future__ import annotations

from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.bleu import Bleu
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Suite
from edgephi_evaluate.suites.builders import item

LANGUAGES = {
    "en": "English", "zh": "Chinese", "ja": "Japanese", "de": "German", "fr": "French", "it": "Italian",
    "es": "Spanish", "pt": "Portuguese",
}  # fmt: skip
PROMPT = "Translate the audio to {language}."
_TO_ENGLISH = tuple(f"{code}_en" for code in LANGUAGES if code != "en")
_FROM_ENGLISH = tuple(f"en_{code}" for code in LANGUAGES if code != "en")
#: Common Voice, and so CoVoST 2, names Chinese by its country; CoVoST has three languages from English.
_COVOST_FROM = ("en_zh", "en_ja", "en_de")


def _translated(row: Row, part: Part) -> Item | None:
    text = row.text("translation", "target", "text")
    if not text.strip():
        return None
    return item(row, part, PROMPT.format(language=LANGUAGES[part.language]), (text,), ((), row.media("audio")))


def _parts(pairs: tuple[str, ...], *names: str) -> tuple[Part, ...]:
    return tuple(Part(name=pair, patterns=_patterns(pair, names), language=pair.rpartition("_")[2]) for pair in pairs)


def _patterns(pair: str, names: tuple[str, ...]) -> tuple[str, ...]:
    other = pair.replace("zh", "zh-CN")
    folders = dict.fromkeys((pair, other))
    return tuple(f"{folder}/{name}*" for folder in folders for name in names)


def _suite(name: str, data: str, parts: tuple[Part, ...], notes: tuple[str, ...]) -> Suite:
    return Suite(
        name=name,
        summary=f"Speech translation, {data.partition('/')[2]}, to English and from it",
        source=data,
        parts=parts,
        columns=("audio", "translation|target|text"),
        build=_translated,
        prompt=PROMPT,
        metric=Bleu(),
        max_new_tokens=256,
        overall="mean",
        notes=("BLEU of raw text by sacrebleu: 13a, zh for Chinese, ja-mecab for Japanese", *notes),
    )


SUITES = (
    _suite("covost2", "facebook/covost2", _parts(_TO_ENGLISH + _COVOST_FROM, "test"), ()),
    _suite(
        "fleurs-translation",
        "google/fleurs",
        _parts(_TO_ENGLISH + _FROM_ENGLISH, "test"),
        ("a row's `translation` is the raw transcription of the same id in the other language: join them first",),
    ),
)
