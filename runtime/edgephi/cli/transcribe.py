"""`edgephi transcribe`: speech to text, or to another language's text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgephi.cli.options import ModelSource, json_option, model_options
from edgephi.cli.report import error_line, one_line, shown, timing_json, timing_line
from edgephi.errors import EdgeError

if TYPE_CHECKING:
    from edgephi.model import Model
    from edgephi.reply import Reply

#: Languages the model was trained to hear and translate to.
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
#: The wordings the model was trained on; it is sensitive to them.
TRANSCRIBE = "Transcribe the audio clip into text."
TRANSLATE = "Translate the audio to {language}."
ADVISED_S = 40
_TOKENS_PER_S = 12  # fast speech in the language with the longest spelling stays below
_TOKENS_AT_LEAST = 64


@dataclass(frozen=True, slots=True)
class Transcript:
    """One file's outcome: a reply or an error."""

    file: str
    duration_s: float
    reply: Reply | None
    error: EdgeError | None

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        if self.reply is None:
            return {"file": self.file, "error": str(self.error)}
        return {
            "file": self.file,
            "duration_s": self.duration_s,
            "text": self.reply.text,
            "finish_reason": self.reply.finish_reason,
            "timing": timing_json(self.reply.timing),
        }


@click.command()
@model_options
@click.argument("files", nargs=-1, required=True)
@click.option("--format", "kind", type=click.Choice(["txt", "json"]), default="txt", show_default=True)
@click.option(
    "--translate-to",
    type=click.Choice([*LANGUAGES, *LANGUAGES.values()], case_sensitive=False),
    help="Write the speech in this language instead of its own.",
)
@json_option
def transcribe(source: ModelSource, files: tuple[str, ...], kind: str, translate_to: str | None, as_json: bool) -> None:
    """Write down what is said in each FILE (WAV, FLAC, OGG or MP3), best up to 40 seconds each.

    A file that cannot be used is reported and the others are still done; the exit code then says so.

    \b
    Examples:
      edgephi transcribe phi4mm memo.wav
      edgephi transcribe phi4mm *.flac --format json
      edgephi transcribe phi4mm rede.mp3 --translate-to en
    """
    prompt = TRANSCRIBE
    if translate_to is not None:
        prompt = TRANSLATE.format(language=LANGUAGES.get(translate_to.lower(), translate_to))
    as_json = as_json or kind == "json"
    exit_code, done = 0, []
    with source.load(with_adapters=True) as model:
        for file in files:
            transcript = _transcribe(model, file, prompt)
            done.append(transcript.to_json())
            if transcript.error is not None:
                click.echo(error_line(transcript.error), err=True)
                exit_code = max(exit_code, transcript.error.exit_code)
            elif not as_json:
                _show(transcript, named=len(files) > 1)
    if as_json:
        click.echo(json.dumps({"prompt": prompt, "files": done}, ensure_ascii=False))
    click.get_current_context().exit(exit_code)


def _transcribe(model: Model, file: str, prompt: str) -> Transcript:
    from edgephi.audio import load_audio
    from edgephi.sampling import SamplingOptions

    try:
        waveform = load_audio(file)
        options = SamplingOptions(max_new_tokens=_TOKENS_AT_LEAST + int(waveform.duration_s * _TOKENS_PER_S))
        clip = (waveform.samples, waveform.sample_rate_hz)
        reply = model.generate(prompt, audio=[clip], options=options)
    except EdgeError as error:
        return Transcript(file, 0.0, None, error)
    return Transcript(file, waveform.duration_s, reply, None)


def _show(transcript: Transcript, *, named: bool) -> None:
    reply = transcript.reply
    if reply is None:
        return
    name = one_line(transcript.file)
    click.echo(f"{name}: {shown(reply.text)}" if named else shown(reply.text))
    if transcript.duration_s > ADVISED_S:
        click.echo(
            f"note: {name} is {transcript.duration_s:.0f} s long; the model is best up to {ADVISED_S} s",
            err=True,
        )
    if reply.finish_reason == "length":
        click.echo(f"note: the text of {name} was cut at {reply.timing.new_tokens} tokens", err=True)
    click.echo(f"{transcript.duration_s:.1f} s of audio · {timing_line(reply.timing)}", err=True)
