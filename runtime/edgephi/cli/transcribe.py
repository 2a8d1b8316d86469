"""`edgephi transcribe`: recordings of any length to text, or to another language's text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgephi.cli.transcripts.files import KINDS, Destination
from edgephi.cli.transcripts.language import LANGUAGE, translate_option
from edgephi.cli.transcripts.origin import model_id
from edgephi.cli.transcripts.partial_file import check_no_partial
from edgephi.cli.transcripts.transcription_run import TranscriptionRun, TranscriptionSettings
from edgephi.console.channel import channel_given
from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.completion import complete_files
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.progress import ProgressLine
from edgephi.console.spool import called, check_stdin, spooled
from edgephi.transcription.prompts import prompt_for

if TYPE_CHECKING:
    from edgephi.audio.channel_choice import Channels

OUTPUT_HELP = (
    "A file whose name ends in .txt, .srt, .vtt or .json, or a folder with one for each FILE: a name without an "
    "extension, unless a file has it. Devices and pipes are written through.  [default: stdout, also as `-`]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """The options of the command beside those of every command with a model."""

    language: str | None
    channel: Channels
    window_s: float
    pause_s: float
    most_s: float | None
    translate_to: str | None
    kind: str | None
    output: str | None
    resume: bool
    as_json: bool


_OPTIONS = (
    *in_group(
        "Audio",
        [
            click.option(
                "--language",
                type=LANGUAGE,
                help="What is spoken; goes into the JSON. The model finds out by itself.",
            ),
            click.option(
                "--channel",
                metavar="N|all|mix",
                default="mix",
                show_default=True,
                callback=channel_given,
                help="Which channel: a number from 1, all of them each as a speaker of its own, or their mix.",
            ),
        ],
    ),
    *in_group(
        "Segment",
        [
            click.option(
                "--window-s",
                type=click.FloatRange(2, 30),
                default=30.0,
                show_default=True,
                help="Most seconds the model takes at once. Shorter: shorter subtitles, less context.",
            ),
            click.option(
                "--pause-s",
                type=click.FloatRange(min=0.3),
                default=0.6,
                show_default=True,
                help="A pause this long always starts a new segment.",
            ),
            click.option(
                "--max-segment-s",
                "most_s",
                type=click.FloatRange(1, 30),
                help="Cut longer segments and cues between words, their times estimated.  "
                "[default: 7 for srt and vtt, else whole]",
            ),
        ],
    ),
    *in_group(
        "Output",
        [
            translate_option,
            click.option(
                "--format",
                "kind",
                type=click.Choice(KINDS),
                help="What to write.  [default: by --output's extension, else txt]",
            ),
            click.option("-o", "--output", metavar="PATH", help=OUTPUT_HELP),
            click.option(
                "--resume",
                is_flag=True,
                help="Go on where an interrupted run with the same options ended; FILEs that are done are passed over.",
            ),
        ],
    ),
    json_option,
)


def transcribe_options(command: Command) -> Command:
    """Adds the options; passes them as `options: TranscribeOptions`."""
    return packed(command, TranscribeOptions, "options", _OPTIONS)


@click.command(cls=ModelCommand)
@model_options
@click.argument("files", nargs=-1, required=True, shell_complete=complete_files)
@transcribe_options
def transcribe(source: ModelSource, files: tuple[str, ...], options: TranscribeOptions) -> None:
    """Write down what is said in each FILE (WAV, FLAC, OGG or MP3), of any length; `-` reads one from stdin.

    A recording is cut at its pauses. Each segment is what the model took at once; its times are those of the speech,
    found by a voice-activity model, and where nobody speaks nothing is written. Where the model keeps repeating
    itself, it is given the two halves again; what then still repeats is left out and marked [...].

    A file that cannot be used is reported and the others are still done; the exit code then says so. Ctrl-C, SIGTERM
    and SIGHUP keep what is complete. With --output, talk.srt.partial holds what is done until talk.srt is complete, so
    that after a power cut too --resume goes on from there.

    \b
    JSON: {"prompt", "files": [one for each FILE]}; with --output, one file's object in each:
      file, prompt, duration_s, elapsed_s, real_time_factor (elapsed over the length done),
      complete, error (null or a line), notes (lines, such as of a header that was never finished), text,
      language (as given, or null),
      segments: [{start_s, end_s, text, confidence (0 to 1, or null), gap,
                  channel (with --channel all, else null)}]
    Confidence is the geometric mean of the probabilities of the segment's tokens.

    \b
    Examples:
      edgephi transcribe phi4mm memo.wav
      edgephi transcribe phi4mm meeting.mp3 -o meeting.srt --window-s 10
      edgephi transcribe phi4mm *.flac --format json -o transcripts
      edgephi transcribe phi4mm rede.mp3 --translate-to en
      edgephi transcribe phi4mm call.wav --channel all -o call.vtt
      curl https://example.org/talk.mp3 | edgephi transcribe phi4mm - -o talk.srt
      edgephi transcribe phi4mm lecture.ogg --pause-s 2 --cache-bytes 256MB
    """
    from edgephi.prompt.routing import choose_route

    check_stdin(files)
    names = tuple(map(called, files))
    settings = _checked(names, options, model_id(source.path, source.kv_cache))
    sources = dict(zip(names, click.get_current_context().with_resource(spooled(files, "audio")), strict=True))
    run = TranscriptionRun(settings=settings, prompt=settings.options.prompt, sources=sources, done=[], errors=[])
    with ProgressLine("loading") as progress, source.load(with_adapters=True, on_stage=progress.observe) as model:
        progress.clear()
        choose_route(model.manifest, num_images=0, num_audio=1, adapter="auto")  # says so if the folder has no speech
        exit_code = run.run(model, names)
    if settings.kind == "json" and settings.destination is None:
        click.echo(json.dumps(run.as_json(), ensure_ascii=False))
    click.get_current_context().exit(exit_code)


def _checked(files: tuple[str, ...], given: TranscribeOptions, model: str) -> TranscriptionSettings:
    """Everything that can be refused before a model is loaded.

    Raises:
        click.UsageError: Options that exclude each other.
        ConfigError: An output that cannot be written.
    """
    from edgephi.transcription.transcriber import TranscriptionOptions
    from edgephi.transcription.windows import WindowRules

    if given.as_json and (given.output is not None or given.kind not in (None, "json")):
        raise click.UsageError("--json writes JSON to stdout; use --format and --output without it for anything else")
    output = None if given.output == "-" else given.output
    chosen = given.kind or ("json" if given.as_json else Destination.kind_of(output) or "txt")
    if output is None and len(files) > 1 and chosen in ("srt", "vtt"):
        raise click.UsageError(f"{len(files)} files are not one {chosen} file; give a folder with --output")
    rules = WindowRules(window_s=given.window_s, pause_s=given.pause_s)
    if given.resume and output is None:
        raise click.UsageError("--resume goes on with a file; give the --output of the run that was interrupted")
    destination = None if output is None else Destination.checked(output, files, chosen)
    if destination is not None and not given.resume:
        for path in destination.paths.values():
            check_no_partial(path)
    return TranscriptionSettings(
        kind=chosen,
        destination=destination,
        options=TranscriptionOptions(prompt=prompt_for(given.translate_to), rules=rules, channel=given.channel),
        language=given.language,
        most_s=given.most_s,
        is_named=len(files) > 1,
        resume=given.resume,
        model=model,
    )
