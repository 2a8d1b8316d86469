"""`edgephi batch transcribe`: recordings of any length, one for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgephi.console.channel import channel_given
from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.options import ModelSource, model_options
from edgephi.console.packing import Command, packed
from edgephi.transcription.prompts import LANGUAGES
from edgephi_batch.commands.options import BatchOptions, batch_options

if TYPE_CHECKING:
    from edgephi.audio.channel_choice import Channels

_LANGUAGE = click.Choice([*LANGUAGES, *LANGUAGES.values()], case_sensitive=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """How recordings are transcribed, as given on the command line."""

    language: str | None
    translate_to: str | None
    channel: Channels
    window_s: float
    pause_s: float


def _speech_options(command: Command) -> Command:
    options = in_group(
        "Audio",
        [
            click.option("--language", type=_LANGUAGE, help="What is spoken; goes into the rows."),
            click.option("--translate-to", type=_LANGUAGE, help="Write the speech in this language, such as en."),
            click.option(
                "--channel",
                metavar="N|all|mix",
                default="mix",
                show_default=True,
                callback=channel_given,
                help="Which channel of a recording.",
            ),
            click.option(
                "--window-s",
                type=click.FloatRange(2, 30),
                default=30.0,
                show_default=True,
                help="Most seconds the model takes at once.",
            ),
            click.option(
                "--pause-s",
                type=click.FloatRange(min=0.3),
                default=0.6,
                show_default=True,
                help="A pause this long always starts a new segment.",
            ),
        ],
    )
    return packed(command, SpeechOptions, "speech", options)


@click.command(cls=ModelCommand)
@model_options
@click.argument("input_place", metavar="INPUT")
@_speech_options
@batch_options
def transcribe(source: ModelSource, input_place: str, speech: SpeechOptions, options: BatchOptions) -> None:
    """Transcribe every recording of INPUT, as `edgephi transcribe` does one.

    INPUT is a folder, a .jsonl or a .parquet file; see `edgephi batch --help`. --threads are those of each worker.

    \b
    A row: id, error (null or a line), elapsed_s, and the fields of `edgephi transcribe --json`:
      audio, language, duration_s, complete, notes, text, segments
    JSON: {results, items, failed, new (rows of this run), elapsed_s, engine,
           workers: {workers, threads, worker_bytes} or null where nothing was left to do}

    \b
    Examples:
      edgephi batch transcribe phi4mm recordings -o transcripts
      edgephi batch transcribe phi4mm calls.jsonl -o out --column audio=audio_filepath --actors 4 --threads 2
      edgephi batch transcribe phi4mm s3://corpus/test.parquet -o out --address auto
    """
    from edgephi import WindowRules
    from edgephi_batch.commands.running import BatchCommand, worker_model
    from edgephi_batch.reading.columns import ItemReader
    from edgephi_batch.reading.corpus import read_corpus
    from edgephi_batch.work.transcription import TranscriptionWork

    work = TranscriptionWork(
        model=worker_model(source, with_adapters=True),
        rules=WindowRules(window_s=speech.window_s, pause_s=speech.pause_s),
        channel=speech.channel,
        language=speech.language,
        translate_to=speech.translate_to,
    )
    items = read_corpus(input_place, ItemReader(columns=options.columns, needs_audio=True))
    BatchCommand(name="transcribe", work=work, items=items, source=source, options=options).run()
