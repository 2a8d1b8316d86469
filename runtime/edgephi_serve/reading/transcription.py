"""A transcript's request: the fields of its form, and the work."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, cast

from edgephi import Choice, Reply, Segment, Transcript, TranscriptProgress, WindowRules
from edgephi.base.errors import ConfigError
from edgephi.sources.source import PipedMedia
from edgephi.transcription.prompts import check_language
from edgephi_serve.connections.uploads import Form
from edgephi_serve.errors import invalid
from edgephi_serve.reading.bodies import printable
from edgephi_serve.reading.turn_model import TurnModel
from edgephi_serve.turns.jobs import Job

Task = Literal["transcribe", "translate"]
Format = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_KNOWN = frozenset({
    "file", "model", "response_format", "stream", "language", "timestamp_granularities", "include", "user",
    "chunking_strategy", "chunking_strategy[type]", "chunking_strategy[silence_duration_ms]", "max_segment_s",
})  # fmt: skip
_LEAST_SEGMENT_S, _MOST_SEGMENT_S = 1.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPiece:
    """A segment, as soon as it is there.

    Attributes:
        segment: Of the transcript.
        choices: The tokens of its text; none for a gap.
        duration_s: Of the whole recording.
    """

    segment: Segment
    choices: tuple[Choice, ...]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptEnd:
    """The whole transcript.

    Attributes:
        transcript: All segments.
        prompt_tokens: Of all requests.
        audio_tokens: Of these, positions of audio.
        new_tokens: Of all requests.
    """

    transcript: Transcript
    prompt_tokens: int
    audio_tokens: int
    new_tokens: int


TranscriptItem = TranscriptPiece | TranscriptEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptWork:
    """A transcript to be made.

    Attributes:
        task: In its own language, or translated.
        form: Of the answer.
        is_stream: Whether segments are sent as events.
        language: Spoken; only repeated in the answer.
        translate_to: Language of the text.
        rules: Where the recording is cut.
        max_segment_s: Longest segment or cue; None for the form's own.
        has_logprobs: Whether the answer holds the tokens' probabilities.
        has_words: Whether the times of words were asked for, which are not known.
        ignored: Fields without effect.
    """

    task: Task
    form: Format
    is_stream: bool
    language: str | None
    translate_to: str | None
    rules: WindowRules
    max_segment_s: float | None
    has_logprobs: bool
    has_words: bool
    ignored: tuple[str, ...]

    def run(self, job: Job[TranscriptItem], descriptor: int) -> None:
        """Emit each segment and at last the transcript. Runs in the job's thread.

        Args:
            job: Which turns are taken for.
            descriptor: Of the open recording.
        """
        model = _SegmentModel(job)

        def on_progress(progress: TranscriptProgress) -> None:
            choices = model.choices_of(progress.segment)
            job.emit(TranscriptPiece(segment=progress.segment, choices=choices, duration_s=progress.duration_s))

        transcript = model.transcribe(
            PipedMedia.of(f"/proc/self/fd/{descriptor}", "the recording"),
            language=self.language,
            translate_to=self.translate_to,
            rules=self.rules,
            on_progress=on_progress,
            should_stop=job.should_stop,
        )
        job.emit(
            TranscriptEnd(
                transcript=transcript,
                prompt_tokens=model.prompt_tokens,
                audio_tokens=model.audio_tokens,
                new_tokens=model.new_tokens,
            )
        )


class _SegmentModel(TurnModel[TranscriptItem]):
    """The model as one transcript uses it."""

    def __init__(self, job: Job[TranscriptItem]) -> None:
        super().__init__(job)
        self._replies: deque[Reply] = deque()
        self.prompt_tokens = self.audio_tokens = self.new_tokens = 0

    def note(self, reply: Reply) -> None:
        """Count it, and keep its tokens."""
        self._replies.append(reply)
        self.prompt_tokens += reply.timing.prompt_tokens
        self.audio_tokens += reply.timing.audio_tokens
        self.new_tokens += reply.timing.new_tokens

    def choices_of(self, segment: Segment) -> tuple[Choice, ...]:
        """The tokens of a segment's text; replies that were thrown away before it are passed over."""
        while not segment.is_gap and self._replies:
            reply = self._replies.popleft()
            if reply.text.strip() == segment.text:
                return reply.logprobs
        return ()


def read_transcription(form: Form, task: Task) -> TranscriptWork:
    """The work of a form.

    Raises:
        ApiError: A field that cannot be used; `param` names it.
    """
    if not form.has_file:
        raise invalid("The form has no file; send the recording in the field `file`.", param="file")
    wanted = form.last("response_format") or "json"
    if wanted not in FORMATS:
        raise invalid(f"response_format is {wanted!r:.40}; use one of {', '.join(FORMATS)}.", param="response_format")
    is_stream = _flag(form, "stream")
    if is_stream and wanted not in ("json", "verbose_json"):
        raise invalid(f"stream: {wanted} is sent as it comes anyway; leave stream out.", param="stream")
    granularities = _each(form, "timestamp_granularities", ("segment", "word"))
    if granularities == {"word"}:
        raise invalid(
            "timestamp_granularities: the model gives no times of words; use segment.",
            param="timestamp_granularities",
            code="word_timestamps_unavailable",
        )
    included = _each(form, "include", ("logprobs",))
    if included and wanted != "json":
        raise invalid("include: logprobs come with the response_format json only.", param="include")
    return TranscriptWork(
        task=task,
        form=cast(Format, wanted),
        is_stream=is_stream,
        language=_language(form, "language"),
        translate_to=(_language(form, "to_language") or "en") if task == "translate" else None,
        rules=_rules(form),
        max_segment_s=_max_segment_s(form),
        has_logprobs=bool(included),
        has_words="word" in granularities,
        ignored=_ignored(form, granularities, task),
    )


def _ignored(form: Form, granularities: set[str], task: Task) -> tuple[str, ...]:
    known = _KNOWN | ({"to_language"} if task == "translate" else set())
    unknown = [name for name in form.fields if name not in known and form.last(name)]
    if form.last("temperature") is not None and _number(form, "temperature", 0, 2) == 0:
        unknown.remove("temperature")
    words = ["timestamp_granularities.word"] if "word" in granularities else []
    return tuple(sorted({*map(printable, unknown), *words}))


def _each(form: Form, name: str, known: tuple[str, ...]) -> set[str]:
    values = {value for value in form.fields.get(name, ()) if value}
    if strange := values - set(known):
        raise invalid(f"{name} holds {min(strange)!r:.40}; use {' or '.join(known)}.", param=name)
    return values


def _flag(form: Form, name: str) -> bool:
    value = (form.last(name) or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise invalid(f"{name} is {value!r:.40}; use true or false.", param=name)
    return value in ("true", "1")


def _number(form: Form, name: str, least: float, most: float) -> float:
    text = form.last(name) or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise invalid(f"{name} is {text!r:.40}; use {least:g} to {most:g}.", param=name)
    return value


def _max_segment_s(form: Form) -> float | None:
    name = "max_segment_s"
    return None if form.last(name) is None else _number(form, name, _LEAST_SEGMENT_S, _MOST_SEGMENT_S)


def _language(form: Form, name: str) -> str | None:
    given = form.last(name)
    try:
        check_language(given, name)
    except ConfigError as error:
        raise invalid(f"{error}.", param=name) from None
    return given


def _rules(form: Form) -> WindowRules:
    """Where `chunking_strategy` has the recording cut: `auto`, JSON, or fields in brackets as clients write objects."""
    param = "chunking_strategy"
    text, kind = form.last(param), form.last(f"{param}[type]")
    given: Any = {"type": kind, "silence_duration_ms": form.last(f"{param}[silence_duration_ms]")} if kind else text
    if text and text.startswith("{"):
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise invalid(f"{param}: not valid JSON.", param=param) from None
    if given in (None, "auto"):
        return WindowRules()
    if not isinstance(given, dict) or given.get("type") != "server_vad":
        raise invalid(f"{param}: use auto, or an object of the type server_vad.", param=param)
    silence = given.get("silence_duration_ms")
    try:
        return WindowRules() if silence is None else WindowRules(pause_s=float(silence) / 1000)
    except (ConfigError, TypeError, ValueError):
        raise invalid(
            f"{param}.silence_duration_ms is {silence!r:.40}; use 300 or more.", param=f"{param}.silence_duration_ms"
        ) from None
