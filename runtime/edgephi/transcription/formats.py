"""How a transcript is written: txt, srt, vtt and json.

Owns the formats and their escaping. Knows nothing about files or the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from edgephi.transcription.transcript import Segment, Transcript, spoken


def render(transcript: Transcript, kind: str, prompt: str) -> str:
    """The transcript as the content of a file of that kind, ended by a line break unless it is empty."""
    if kind == "json":
        return json.dumps(as_json(transcript, prompt), ensure_ascii=False, indent=1) + "\n"
    return {"txt": _txt, "srt": _srt, "vtt": _vtt}[kind](transcript.segments)


def as_json(transcript: Transcript, prompt: str) -> dict[str, Any]:
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
        "text": transcript.text,
        "segments": [
            {
                "start_s": round(segment.start_s, 3),
                "end_s": round(segment.end_s, 3),
                "text": segment.text,
                "confidence": None if segment.confidence is None else round(segment.confidence, 4),
                "gap": segment.is_gap,
                "channel": segment.channel,
            }
            for segment in transcript.segments
        ],
    }


def line(segment: Segment) -> str:
    """The segment's text on one line, after its channel where each was heard for itself; empty without words."""
    text = spoken(segment)
    return f"{speaker(segment.channel)}: {text}" if text and segment.channel is not None else text


def speaker(channel: int) -> str:
    """How a channel is called."""
    return f"Channel {channel}"


def clock(seconds: float, point: str = ".") -> str:
    """`01:02:03.456`."""
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}{point}{millis % 1000:03}"


def _txt(segments: Iterable[Segment]) -> str:
    return "".join(f"{text}\n" for text in map(line, segments) if text)


def _srt(segments: Iterable[Segment]) -> str:
    cues = []
    for number, (segment, _) in enumerate(_cues(segments), 1):
        times = f"{clock(segment.start_s, ',')} --> {clock(segment.end_s, ',')}"
        # Some players take any line with an arrow for a cue's times.
        cues.append(f"{number}\n{times}\n{line(segment).replace('-->', '->')}\n")
    return "\n".join(cues)


def _vtt(segments: Iterable[Segment]) -> str:
    cues = ["WEBVTT\n"]
    for segment, text in _cues(segments):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = "" if segment.channel is None else f"<v {speaker(segment.channel)}>"
        cues.append(f"{clock(segment.start_s)} --> {clock(segment.end_s)}\n{voice}{escaped}\n")
    return "\n".join(cues)


def _cues(segments: Iterable[Segment]) -> Iterable[tuple[Segment, str]]:
    return ((segment, text) for segment in segments if (text := spoken(segment)))
