"""The formats of a transcript and their escaping: txt, srt, vtt and json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from edgephi.transcription.cues import MOST_S, cut_cues, shorter
from edgephi.transcription.transcript import Segment, Transcript, spoken


def render(transcript: Transcript, kind: str, prompt: str, most_s: float | None = None) -> str:
    """The transcript as the content of a file of that kind, ended by a line break unless it is empty.

    Args:
        transcript: Of one recording.
        kind: `txt`, `srt`, `vtt` or `json`.
        prompt: As the model was given it.
        most_s: Longest segment or cue; None for segments as they are, and cues of 7 s.
    """
    if kind == "json":
        return json.dumps(as_json(transcript, prompt, most_s), ensure_ascii=False, indent=1) + "\n"
    if kind == "txt":
        return "".join(f"{text}\n" for text in map(line, _cut(transcript.segments, most_s)) if text)
    return {"srt": _srt, "vtt": _vtt}[kind](transcript.segments, MOST_S if most_s is None else most_s)


def as_json(transcript: Transcript, prompt: str, most_s: float | None = None) -> dict[str, Any]:
    """The transcript as one JSON object; the schema is in `edgephi transcribe --help`."""
    return {
        "file": transcript.file,
        "prompt": prompt,
        "language": transcript.language,
        "duration_s": round(transcript.duration_s, 3),
        "elapsed_s": round(transcript.elapsed_s, 3),
        "real_time_factor": round(transcript.real_time_factor, 4),
        "complete": transcript.is_complete,
        "error": transcript.error,
        "notes": list(transcript.notes),
        "text": transcript.text,
        "segments": [segment_json(segment) for segment in _cut(transcript.segments, most_s)],
    }


def segment_json(segment: Segment) -> dict[str, Any]:
    """One segment of it."""
    return {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "text": segment.text,
        "confidence": None if segment.confidence is None else round(segment.confidence, 4),
        "gap": segment.is_gap,
        "channel": segment.channel,
    }


def lines(segment: Segment, most_s: float | None = None) -> list[str]:
    """The segment as lines of text, one for each `most_s`; none without words."""
    return [text for text in map(line, _cut([segment], most_s)) if text]


def line(segment: Segment) -> str:
    """The segment's text on one line, after its channel where each was transcribed on its own; empty without words."""
    text = spoken(segment)
    return f"{speaker(segment.channel)}: {text}" if text and segment.channel is not None else text


def speaker(channel: int) -> str:
    """How a channel is called."""
    return f"Channel {channel}"


def timestamp(seconds: float, point: str = ".") -> str:
    """`01:02:03.456`."""
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}{point}{millis % 1000:03}"


def _cut(segments: Iterable[Segment], most_s: float | None) -> Iterable[Segment]:
    if most_s is None:
        return segments
    return [piece for segment in segments for piece in shorter(segment, most_s)]


def _srt(segments: Iterable[Segment], most_s: float) -> str:
    cues = []
    labelled = [(segment, f"{speaker(segment.channel)}: " if segment.channel else "") for segment in segments]
    in_order = sorted(
        (cue for segment, label in labelled for cue in cut_cues(segment, most_s, label)), key=lambda cue: cue.start_s
    )
    for number, cue in enumerate(in_order, 1):
        times = f"{timestamp(cue.start_s, ',')} --> {timestamp(cue.end_s, ',')}"
        # Some players take any line with an arrow for a cue's times.
        text = "\n".join(cue.lines).replace("-->", "->")
        cues.append(f"{number}\n{times}\n{text}\n")
    return "\n".join(cues)


def _vtt(segments: Iterable[Segment], most_s: float) -> str:
    cues = ["WEBVTT\n"]
    in_order = sorted((cue for segment in segments for cue in cut_cues(segment, most_s)), key=lambda cue: cue.start_s)
    for cue in in_order:
        escaped = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = "" if cue.channel is None else f"<v {speaker(cue.channel)}>"
        cues.append(f"{timestamp(cue.start_s)} --> {timestamp(cue.end_s)}\n{voice}{escaped}\n")
    return "\n".join(cues)
