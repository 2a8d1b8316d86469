"""A whole recording to its transcript, for programs that use the library."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from edgephi.audio.decoding import AudioSource
from edgephi.base.cancellation import Stopped, never
from edgephi.base.errors import EdgeError
from edgephi.bundle.manifest import Manifest
from edgephi.prompt.routing import choose_route
from edgephi.sources.source import media_name
from edgephi.transcription.recording import open_recordings
from edgephi.transcription.transcriber import SpeechModel, TranscriptionOptions, transcribe
from edgephi.transcription.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptProgress:
    """How far a transcript is.

    Attributes:
        segment: The one just written down.
        reached_s: Up to where the recording is written down.
        duration_s: Of the recording, as its header has it.
    """

    segment: Segment
    reached_s: float
    duration_s: float


OnProgress = Callable[[TranscriptProgress], None]


def ignore_progress(_: TranscriptProgress) -> None:
    """The default observer: does nothing."""


class TranscriptModel(SpeechModel, Protocol):
    """The part of Model that a whole transcript needs."""

    @property
    def manifest(self) -> Manifest:
        """See Model.manifest."""


def transcribe_whole(
    model: TranscriptModel,
    source: AudioSource,
    options: TranscriptionOptions,
    *,
    language: str | None = None,
    on_progress: OnProgress = ignore_progress,
    should_stop: Callable[[], bool] = never,
) -> Transcript:
    """See Model.transcribe."""
    choose_route(model.manifest, num_images=0, num_audio=1, adapter="auto")  # raises if the folder has no speech
    started_s, stopped = time.perf_counter(), False

    def is_over() -> bool:
        nonlocal stopped
        stopped = stopped or should_stop()
        return stopped

    segments: list[Segment] = []
    duration_s, damage = 0.0, None
    notes: tuple[str, ...] = ()
    try:
        with open_recordings(source, options.channel, is_over) as recordings:
            duration_s = max(recording.duration_s for recording in recordings)
            notes = recordings[0].notes
            with closing(transcribe(model, recordings, options, is_over)) as made:
                for segment in made:
                    segments.append(segment)
                    reached_s = max(one.end_s for one in segments[-2:])
                    on_progress(TranscriptProgress(segment=segment, reached_s=reached_s, duration_s=duration_s))
    except Stopped:
        pass
    except EdgeError as error:
        if not segments:
            raise
        damage = error  # what came before it is right
    return Transcript(
        file=media_name(source, "audio"),
        segments=in_order(segments),
        duration_s=duration_s,
        elapsed_s=time.perf_counter() - started_s,
        error=None if damage is None else str(damage),
        is_complete=damage is None and not stopped,
        language=language,
        notes=notes,
    )


def in_order(segments: list[Segment]) -> tuple[Segment, ...]:
    """By time: halves of a window that was transcribed twice may have come before another channel's."""
    return tuple(sorted(segments, key=lambda segment: segment.start_s))
