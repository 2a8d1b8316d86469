"""`edgephi transcribe`: recordings of any length to text, or to another language's text."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgephi.cli.main import INTERRUPTED
from edgephi.cli.options import ModelSource, json_option, model_options
from edgephi.cli.report import error_line, one_line, shown
from edgephi.cli.status import StatusLine
from edgephi.cli.transcript_files import Destination
from edgephi.errors import EdgeError
from edgephi.transcription.wording import LANGUAGES, prompt_for

if TYPE_CHECKING:
    from edgephi.model import Model
    from edgephi.transcription.transcriber import TranscriptionOptions
    from edgephi.transcription.transcript import Segment, Transcript


@click.command()
@model_options
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["txt", "srt", "vtt", "json"]),
    help="What to write.  [default: by --output's extension, else txt]",
)
@click.option("-o", "--output", metavar="PATH", help="A file, or with several FILEs a folder.  [default: stdout]")
@click.option(
    "--translate-to",
    type=click.Choice([*LANGUAGES, *LANGUAGES.values()], case_sensitive=False),
    help="Write the speech in this language, such as en, instead of its own.",
)
@click.option(
    "--window-s",
    type=click.FloatRange(2, 30),
    default=30.0,
    show_default=True,
    help="Most seconds the model hears at once. Shorter: shorter subtitles, less context.",
)
@click.option(
    "--pause-s",
    type=click.FloatRange(min=0.3),
    default=0.6,
    show_default=True,
    help="A pause this long always starts a new segment.",
)
@json_option
def transcribe(source: ModelSource, files: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Write down what is said in each FILE (WAV, FLAC, OGG or MP3), of any length.

    A recording is cut at its pauses. Each segment is what the model heard at once; its times are those of the speech,
    found by a voice-activity model, and where nobody speaks nothing is written. Where the model keeps repeating
    itself, it hears the two halves again; what then still repeats is left out and marked [...].

    A file that cannot be used is reported and the others are still done; the exit code then says so. Ctrl-C keeps what
    is complete.

    \b
    JSON: {"prompt", "files": [one for each FILE]}; with --output, one file's object in each:
      file, prompt, duration_s, elapsed_s, real_time_factor (elapsed over the length done),
      complete, error (null or a line), text,
      segments: [{start_s, end_s, text, confidence (0 to 1, or null), gap}]
    Confidence is the geometric mean of the probabilities of the segment's tokens.

    \b
    Examples:
      edgephi transcribe phi4mm memo.wav
      edgephi transcribe phi4mm meeting.mp3 -o meeting.srt --window-s 10
      edgephi transcribe phi4mm *.flac --format json -o transcripts
      edgephi transcribe phi4mm rede.mp3 --translate-to en
      edgephi transcribe phi4mm lecture.ogg --pause-s 2 --cache-bytes 256MB
    """
    from edgephi.mode import choose_route

    order = _checked(files, as_json, **given)
    job = _Job(order=order, prompt=order.options.prompt, done=[], errors=[])
    with source.load(with_adapters=True) as model:
        choose_route(model.manifest, num_images=0, num_audio=1, adapter="auto")  # says so if the folder has no speech
        exit_code = job.run(model, files)
    if order.kind == "json" and order.destination is None:
        click.echo(json.dumps(job.as_json(), ensure_ascii=False))
    click.get_current_context().exit(exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """The command line, checked."""

    kind: str
    destination: Destination | None
    options: TranscriptionOptions
    is_named: bool


def _checked(
    files: tuple[str, ...],
    as_json: bool,
    *,
    kind: str | None,
    output: str | None,
    **asked: Any,
) -> _Order:
    """Everything that can be refused before a model is loaded.

    Raises:
        click.UsageError: Options that exclude each other.
        ConfigError: An output that cannot be written.
    """
    from edgephi.transcription.transcriber import TranscriptionOptions
    from edgephi.transcription.windows import WindowRules

    if as_json and (output is not None or kind not in (None, "json")):
        raise click.UsageError("--json writes JSON to stdout; use --format and --output without it for anything else")
    chosen = kind or ("json" if as_json else Destination.kind_of(output) or "txt")
    if output is None and len(files) > 1 and chosen in ("srt", "vtt"):
        raise click.UsageError(f"{len(files)} files are not one {chosen} file; give a folder with --output")
    rules = WindowRules(window_s=asked["window_s"], pause_s=asked["pause_s"])
    return _Order(
        kind=chosen,
        destination=None if output is None else Destination.checked(output, files, chosen),
        options=TranscriptionOptions(prompt=prompt_for(asked["translate_to"]), rules=rules),
        is_named=len(files) > 1,
    )


@dataclass(slots=True, kw_only=True)
class _Job:
    """The files one after another, and what became of them."""

    order: _Order
    prompt: str
    done: list[Transcript]
    errors: list[EdgeError]

    def run(self, model: Model, files: tuple[str, ...]) -> int:
        """Do all files; the exit code."""
        for number, file in enumerate(files, 1):
            transcript, is_interrupted = self._one(model, file)
            self.done.append(transcript)
            self._write(transcript)
            if is_interrupted:
                if rest := len(files) - number:
                    click.echo(f"interrupted: {rest} more not begun", err=True)
                return INTERRUPTED
        codes = {error.exit_code for error in self.errors}
        return 0 if not codes else codes.pop() if len(codes) == 1 else EdgeError.exit_code

    def as_json(self) -> dict[str, Any]:
        """For stdout."""
        from edgephi.transcription.formats import as_json

        return {"prompt": self.prompt, "files": [as_json(transcript, self.prompt) for transcript in self.done]}

    def _one(self, model: Model, file: str) -> tuple[Transcript, bool]:
        """One file's transcript, as far as it came; whether Ctrl-C ended it."""
        from edgephi.transcription.recording import open_recording
        from edgephi.transcription.transcriber import transcribe as write_down
        from edgephi.transcription.transcript import Transcript

        status, started_s = StatusLine(), time.perf_counter()
        segments: list[Segment] = []
        duration_s, error, is_interrupted = 0.0, None, False
        try:
            with open_recording(file) as recording:
                duration_s = recording.duration_s
                with closing(write_down(model, recording, self.order.options)) as made:
                    for segment in made:
                        segments.append(segment)
                        status.clear()
                        self._tell(file, segment)
                        status.show(_progress(file, segment.end_s, duration_s, time.perf_counter() - started_s))
        except EdgeError as raised:
            error = raised
            self.errors.append(raised)
        except KeyboardInterrupt:
            is_interrupted = True
        status.clear()
        transcript = Transcript(
            file=file,
            segments=tuple(segments),
            duration_s=duration_s,
            elapsed_s=time.perf_counter() - started_s,
            error=None if error is None else str(error),
            is_complete=error is None and not is_interrupted,
        )
        return transcript, is_interrupted

    def _tell(self, file: str, segment: Segment) -> None:
        """Text goes out as it comes."""
        from edgephi.transcription.transcript import spoken

        if self.order.kind == "txt" and self.order.destination is None and (text := spoken(segment)):
            click.echo(f"{one_line(file)}: {shown(text)}" if self.order.is_named else shown(text))

    def _write(self, transcript: Transcript) -> None:
        """The finished formats, then what happened."""
        from edgephi.transcription.formats import render

        order, written = self.order, ""
        has_content = transcript.is_complete or bool(transcript.segments)
        content = render(transcript, order.kind, self.prompt)
        if order.destination is not None and has_content:
            written = f" · {one_line(order.destination.write(transcript.file, content))}"
        elif order.destination is None and order.kind in ("srt", "vtt") and has_content:
            click.echo(shown(content), nl=False)
        if transcript.error is not None:
            click.echo(error_line(transcript.error), err=True)
        reached = f"{one_line(transcript.file)} is done up to {_mmss(transcript.reached_s)}{written}"
        if transcript.is_complete:
            click.echo(_summary(transcript) + written, err=True)
        elif transcript.error is None:
            click.echo(f"interrupted: {reached}", err=True)
        elif transcript.segments:
            click.echo(f"note: {reached}", err=True)


def _summary(transcript: Transcript) -> str:
    """`memo.wav: 61.2 s of audio in 20.3 s · real-time factor 0.33 · 14 segments`."""
    count, gaps = len(transcript.segments), sum(segment.is_gap for segment in transcript.segments)
    parts = [
        f"{one_line(transcript.file)}: {transcript.duration_s:.1f} s of audio in {transcript.elapsed_s:.1f} s",
        f"real-time factor {transcript.real_time_factor:.2f}",
        f"{count:,} segment{'s' * (count != 1)}" if count else "no speech found",
    ]
    if gaps:
        parts.append(f"{gaps} left out as [...]")
    return " · ".join(parts)


def _progress(file: str, reached_s: float, duration_s: float, elapsed_s: float) -> str:
    factor = elapsed_s / reached_s if reached_s else 0.0
    return f"{one_line(file)}: {_mmss(reached_s)} of {_mmss(duration_s)} · real-time factor {factor:.2f}"


def _mmss(seconds: float) -> str:
    """`75:03`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
