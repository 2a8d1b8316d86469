"""Speech recognition: OpenASR as its figure of Phi-4-multimodal was measured in 2025, as it is since 2026, and others.

OpenASR: github.com/huggingface/open_asr_leaderboard, phi/run_eval.py (2025: b4de2c9; 2026: d1e99b2).
"""

from __future__ import annotations

import dataclasses

from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.multilingual import MultilingualErrors
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.normalize.english import english_2025, english_2026
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part, Published, Suite
from edgephi_evaluate.suites.builders import ask, row_id

PROMPT = "Transcribe the audio clip into text."
#: Earnings22 alone is asked otherwise.
EARNINGS_PROMPT = "Transcribe the audio clip to English text."
_IGNORED = "ignore time segment in scoring"
_LANGUAGES = {"de": "German", "fr": "French", "it": "Italian", "es": "Spanish", "pt": "Portuguese"}
_CARD = "Open ASR Leaderboard, February 2025"
_ALONE = "every clip is encoded alone; the reference pads clips to batches, whose padding its encoder takes in"
_LONG = "a clip over 40 s is one request, as in the reference; `edgephi transcribe` would cut it at pauses"


def _english(row: Row, part: Part) -> Item | None:
    """A clip, unless its text is empty once it is normalized."""
    text = row.text("text", "norm_text", "sentence", "transcription")
    if not english_2025(text).strip() or _IGNORED in text.lower():
        return None
    return _recording(row, part, text, EARNINGS_PROMPT if part.name.startswith("earnings22") else PROMPT)


def _recording(row: Row, part: Part, text: str, prompt: str) -> Item:
    name = row_id(row, part, "id", "audio_id", "file")
    return Item(
        id=name,
        turns=ask(prompt),
        audio=row.media("audio", "audio_filepath"),
        answers=(text,),
        group=f"{part.name}/{row.optional('speaker_id', 'parent_id')}" if row.has("speaker_id") else name,
        part=part.name,
        language=part.language,
    )


def _multilingual(row: Row, part: Part) -> Item | None:
    text = row.text("text", "sentence", "transcription")
    if not text.strip():
        return None
    prompt = f"Transcribe the {_LANGUAGES[part.language]} audio clip into text."
    return _recording(row, part, text, prompt)


def _characters(row: Row, part: Part) -> Item | None:
    return _recording(row, part, row.text("text", "sentence", "transcription", "raw_transcription"), PROMPT)


OPENASR_2025 = Suite(
    name="openasr-2025",
    summary="English speech recognition, eight sets: the figure 6.14 of the model's makers",
    source="hf-audio/esb-datasets-test-only-sorted; open_asr_leaderboard b4de2c9",
    parts=(
        Part(name="ami", patterns=("ami/test*",), rows=12643),
        Part(name="earnings22", patterns=("earnings22/test*",), rows=2741),
        Part(name="gigaspeech", patterns=("gigaspeech/test*",), rows=19931),
        Part(name="librispeech test.clean", patterns=("librispeech/test.clean*",), rows=2620),
        Part(name="librispeech test.other", patterns=("librispeech/test.other*",), rows=2939),
        Part(name="spgispeech", patterns=("spgispeech/test*",), rows=39341),
        Part(name="tedlium", patterns=("tedlium/test*",), rows=1155),
        Part(name="voxpopuli", patterns=("voxpopuli/test*",), rows=1842),
    ),
    columns=("audio", "text|norm_text|sentence|transcription"),
    build=_english,
    prompt=PROMPT,
    same_prompt=True,
    metric=WordErrors(normalize=english_2025),
    max_new_tokens=512,
    overall="mean",
    published=(
        Published(value=6.14, source=_CARD),
        Published(part="ami", value=11.45, source=_CARD),
        Published(part="earnings22", value=10.50, source=_CARD),
        Published(part="gigaspeech", value=9.77, source=_CARD),
        Published(part="librispeech test.clean", value=1.67, source=_CARD),
        Published(part="librispeech test.other", value=3.82, source=_CARD),
        Published(part="spgispeech", value=3.11, source=_CARD),
        Published(part="tedlium", value=2.89, source=_CARD),
        Published(part="voxpopuli", value=5.93, source=_CARD),
    ),
    notes=(_ALONE, _LONG),
)

OPENASR_2026 = dataclasses.replace(
    OPENASR_2025,
    name="openasr-2026",
    summary="English speech recognition, seven sets, compounds free: the leaderboard's rules since 2026",
    source="hf-audio/open-asr-leaderboard; open_asr_leaderboard d1e99b2",
    parts=(
        Part(name="ami_cleaned", patterns=("ami_cleaned/test*",)),
        Part(name="earnings22", patterns=("earnings22/test*",)),
        Part(name="gigaspeech_cleaned", patterns=("gigaspeech_cleaned/test*",)),
        Part(name="librispeech test.clean", patterns=("librispeech/test.clean*",), rows=2620),
        Part(name="librispeech test.other", patterns=("librispeech/test.other*",), rows=2939),
        Part(name="spgispeech", patterns=("spgispeech/test*",)),
        Part(name="voxpopuli_cleaned_aa", patterns=("voxpopuli_cleaned_aa/test*",)),
    ),
    metric=WordErrors(normalize=english_2026, merge_compounds=True),
    published=(),
    notes=(
        _ALONE,
        _LONG,
        "the rules for texts follow the leaderboard's, without its list of names: for a figure to publish, give its "
        "scorer what `report --manifests DIR` writes",
    ),
)

MULTILINGUAL = Suite(
    name="multilingual-asr",
    summary="Speech recognition in German, French, Italian, Spanish and Portuguese",
    source="hf-audio/open-asr-leaderboard-multilingual-datasets; open_asr_leaderboard phi/run_eval_ml.py",
    parts=tuple(
        Part(name=f"{name}_{language}", patterns=(f"{name}_{language}/test*",), language=language)
        for name in ("fleurs", "mcv", "mls")
        for language in _LANGUAGES
        if (name, language) != ("mcv", "pt")
    ),
    columns=("audio", "text|sentence|transcription"),
    build=_multilingual,
    prompt="Transcribe the {language} audio clip into text.",
    metric=MultilingualErrors(),
    max_new_tokens=128,
    overall="mean",
)

CHARACTERS = Suite(
    name="character-asr",
    summary="Speech recognition in Chinese and Japanese, by characters",
    source="google/fleurs, mozilla-foundation/common_voice",
    parts=tuple(
        Part(name=f"{name}_{language}", patterns=(f"{name}_{language}/test*",), language=language)
        for name in ("fleurs", "mcv")
        for language in ("zh", "ja")
    ),
    columns=("audio", "text|sentence|transcription|raw_transcription"),
    build=_characters,
    prompt=PROMPT,
    same_prompt=True,
    metric=MultilingualErrors(),
    max_new_tokens=256,
    overall="mean",
)

SUITES = (OPENASR_2025, OPENASR_2026, MULTILINGUAL, CHARACTERS)
