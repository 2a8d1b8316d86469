"""The prompts for transcripts and translations, in the words the model was trained on: it is sensitive to them."""

from __future__ import annotations

from edgephi.base.errors import ConfigError

#: Languages the model was trained to transcribe and translate to.
LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "de": "German",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "es": "Spanish",
    "pt": "Portuguese",
}
TRANSCRIBE = "Transcribe the audio clip into text."
TRANSLATE = "Translate the audio to {language}."


def prompt_for(translate_to: str | None) -> str:
    """The prompt for a transcript, or for a translation to a language given by code or English name."""
    if translate_to is None:
        return TRANSCRIBE
    return TRANSLATE.format(language=LANGUAGES.get(translate_to.lower(), translate_to.title()))


def check_language(language: str | None, name: str) -> None:
    """Raise ConfigError for a language that the model was not trained to transcribe; `name` is the argument's."""
    known = {*LANGUAGES, *map(str.lower, LANGUAGES.values())}
    if language is not None and not (isinstance(language, str) and language.lower() in known):
        listed = ", ".join(f"{code} ({english})" for code, english in LANGUAGES.items())
        raise ConfigError(f"{name} is {language!r}; use one of {listed}")
