"""The recordings of `edgephi transcribe` one after another: progress, outputs and errors."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.cancellation import Stopped
from edgephi.base.errors import CapacityError, EdgeError
from edgephi.cli.transcripts.files import Destination
from edgephi.cli.transcripts.origin import Origin, recording_id, request_text
from edgephi.cli.transcripts.partial_file import Partial, is_finished, partial_path, remove_partial, why_no_partial
from edgephi.console import interruption
from edgephi.console.ending import NO_MEMORY, say
from edgephi.console.progress import ProgressLine
from edgephi.console.report import error_line, note_line, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgephi.model import Model
    from edgephi.transcription.transcriber import TranscriptionOptions
    from edgephi.transcription.transcript import Segment, Transcript


#: Settings that do not change the text.
_WITHOUT_EFFECT = ("kind", "destination", "is_named", "resume", "model", "most_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionSettings:
    """The command line, checked. Fields that change the text go into the partial file by their names."""

    kind: str
    destination: Destination | None
    options: TranscriptionOptions
    is_named: bool
    language: str | None
    most_s: float | None = None
    resume: bool = False
    model: str = ""


@dataclass(slots=True, kw_only=True)
class TranscriptionRun:
    """The files one after another, and their results; `sources` are where each is read."""

    settings: TranscriptionSettings
    prompt: str
    sources: dict[str, str]
    done: list[Transcript]
    errors: list[EdgeError]

    def run(self, model: Model, files: tuple[str, ...]) -> int:
        """Do all files; the exit code."""
        with interruption.noted() as should_stop:
            for number, file in enumerate(files, 1):
                if self._is_finished(file):
                    continue
                transcript, is_interrupted = self._one(model, file, should_stop)
                self.done.append(transcript)
                self._write(transcript)
                if is_interrupted:
                    if rest := len(files) - number:
                        say(f"interrupted: {rest} more not begun")
                    return interruption.answered()
        codes = {error.exit_code for error in self.errors}
        return 0 if not codes else codes.pop() if len(codes) == 1 else EdgeError.exit_code

    def as_json(self) -> dict[str, Any]:
        """For stdout."""
        from edgephi.transcription.formats import as_json

        return {
            "prompt": self.prompt,
            "files": [as_json(transcript, self.prompt, self.settings.most_s) for transcript in self.done],
        }

    def _one(self, model: Model, file: str, should_stop: Callable[[], bool]) -> tuple[Transcript, bool]:
        """One file's transcript, as far as it came; whether a signal ended it."""
        from edgephi.transcription.recording import open_recordings
        from edgephi.transcription.transcriber import transcribe_windows
        from edgephi.transcription.transcript import Transcript
        from edgephi.transcription.whole import in_order

        status, started_s = ProgressLine("reading"), time.perf_counter()
        segments: list[Segment] = []
        duration_s, before_s, is_interrupted = 0.0, 0.0, False
        notes: tuple[str, ...] = ()
        error: EdgeError | None = None
        try:
            with ExitStack() as stack:
                channel = self.settings.options.channel
                recordings = stack.enter_context(open_recordings(self.sources[file], channel, should_stop))
                duration_s, notes = max(one.duration_s for one in recordings), recordings[0].notes
                for note in notes:
                    say(note_line(note))
                partial = stack.enter_context(self._partial(file, duration_s))
                segments, before_s = partial.segments, partial.elapsed_s
                reached_s = segments[-1].end_s if segments else 0.0
                status.show(_progress(file, reached_s, duration_s, 0.0))
                made = transcribe_windows(model, recordings, self.settings.options, should_stop, partial.num_windows)
                with closing(made):
                    for window in made:
                        segments += window
                        status.clear()
                        if failure := partial.add(window, before_s + time.perf_counter() - started_s):
                            say(f"note: {one_line(failure)}")
                        self._print(file, window)
                        status.show(_progress(file, window[-1].end_s, duration_s, time.perf_counter() - started_s))
        except EdgeError as raised:
            error = raised
            self.errors.append(raised)
        except MemoryError:
            error = CapacityError(NO_MEMORY)
            self.errors.append(error)
        except (KeyboardInterrupt, Stopped):
            is_interrupted = True
        is_interrupted = is_interrupted or should_stop()
        status.clear()
        transcript = Transcript(
            file=file,
            segments=in_order(segments),
            duration_s=duration_s,
            elapsed_s=before_s + time.perf_counter() - started_s,
            error=None if error is None else str(error),
            is_complete=error is None and not is_interrupted,
            language=self.settings.language,
            notes=notes,
        )
        return transcript, is_interrupted

    def _is_finished(self, file: str) -> bool:
        """With --resume, whether an earlier run did all of it: the output is newer, and no partial file is left."""
        destination = self.settings.destination
        if destination is None or not self.settings.resume or not is_finished(destination.paths[file], file):
            return False
        say(f"note: {one_line(destination.paths[file])} is there and complete, so {one_line(file)} is passed over")
        return True

    def _partial(self, file: str, duration_s: float) -> Partial:
        """Where the windows are kept as they come, with those that are there already."""
        settings = self.settings
        origin = Origin(
            recording=recording_id(self.sources[file]),
            duration_s=duration_s,
            model=settings.model,
            request=request_text(settings, but=_WITHOUT_EFFECT),
        )
        output = None if settings.destination is None else settings.destination.place(file)
        if output is not None and (why := why_no_partial(output)):
            say(f"note: {one_line(why)}")
        partial = Partial(None if output is None else partial_path(output), output or Path(), origin)
        if partial.segments:
            say(f"note: {one_line(file)} goes on at {_mmss(partial.segments[-1].end_s)}")
        return partial

    def _print(self, file: str, window: Iterable[Segment]) -> None:
        """Text goes out as it comes."""
        from edgephi.transcription.formats import lines

        if self.settings.kind != "txt" or self.settings.destination is not None:
            return
        for text in (text for segment in window for text in lines(segment, self.settings.most_s)):
            with interruption.may_stick():
                click.echo(f"{one_line(file)}: {shown(text)}" if self.settings.is_named else shown(text))

    def _write(self, transcript: Transcript) -> None:
        """The finished formats, then what happened."""
        has_content = transcript.is_complete or bool(transcript.segments)
        written = self._give(transcript, self._render(transcript)) if has_content else ""
        if transcript.error is not None:
            say(error_line(transcript.error))
        reached = f"{one_line(transcript.file)} is done up to {_mmss(transcript.reached_s)}{written}"
        if transcript.is_complete:
            say(_summary(transcript) + written)
        elif transcript.error is None:
            say(f"interrupted: {reached}{self._way_on(transcript)}")
        elif transcript.segments:
            say(f"note: {reached}{self._way_on(transcript)}")

    def _render(self, transcript: Transcript) -> str:
        from edgephi.transcription.formats import render

        return render(transcript, self.settings.kind, self.prompt, self.settings.most_s)

    def _way_on(self, transcript: Transcript) -> str:
        destination = self.settings.destination
        path = None if destination is None else partial_path(destination.paths[transcript.file])
        return " · --resume goes on from there" if path is not None and path.exists() else ""

    def _give(self, transcript: Transcript, content: str) -> str:
        """Write the file, or stdout what was not said there yet; where it went, as the summary's last words."""
        settings = self.settings
        if settings.destination is None:
            if settings.kind in ("srt", "vtt"):
                with interruption.may_stick():
                    click.echo(shown(content), nl=False)
            return ""
        try:
            written = f" · {one_line(settings.destination.write(transcript.file, content))}"
            if transcript.is_complete:
                remove_partial(settings.destination.paths[transcript.file])
            return written
        except EdgeError as error:  # hours of work must not be lost to a full disk
            self.errors.append(error)
            say(error_line(f"{error}; what it should hold is on stdout"))
            click.echo(shown(content), nl=False)
            return " · on stdout"


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
