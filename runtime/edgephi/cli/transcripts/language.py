"""Options that name a language."""

from __future__ import annotations

import click

from edgephi.transcription.prompts import LANGUAGES

#: A code or an English name.
LANGUAGE = click.Choice([*LANGUAGES, *LANGUAGES.values()], case_sensitive=False)

translate_option = click.option(
    "--translate-to", type=LANGUAGE, help="Write the speech in this language, such as en, instead of its own."
)
