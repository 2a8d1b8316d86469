"""Files that other programs read: every character counts."""

from __future__ import annotations

import json

from edgephi.transcription.formats import render, timestamp
from edgephi.transcription.transcript import Segment, Transcript

SEGMENTS = (
    Segment(start_s=0.5, end_s=2.0, text="Hello, world.", confidence=0.98765),
    Segment(start_s=2.5, end_s=3.0, text="", confidence=None),
    Segment(start_s=3720.0, end_s=3725.0064, text="a <b> & c --> d\n\nnext", confidence=0.5),
    Segment(start_s=3726.0, end_s=3727.0, text="", confidence=None, is_gap=True),
)
TRANSCRIPT = Transcript(
    file="a.wav", segments=SEGMENTS, duration_s=4000.0, elapsed_s=1000.0, error=None, is_complete=True
)
NOTHING = Transcript(file="a.wav", segments=(), duration_s=1.0, elapsed_s=0.1, error=None, is_complete=True)


def test_txt_has_one_line_for_each_segment_with_words():
    assert render(TRANSCRIPT, "txt", "") == "Hello, world.\na <b> & c --> d next\n[...]\n"
    assert render(NOTHING, "txt", "") == ""


def test_srt():
    assert render(TRANSCRIPT, "srt", "") == (
        "1\n00:00:00,500 --> 00:00:02,000\nHello, world.\n"
        "\n2\n01:02:00,000 --> 01:02:05,006\na <b> & c -> d next\n"
        "\n3\n01:02:06,000 --> 01:02:07,000\n[...]\n"
    )
    assert render(NOTHING, "srt", "") == ""


def test_vtt():
    assert render(TRANSCRIPT, "vtt", "") == (
        "WEBVTT\n"
        "\n00:00:00.500 --> 00:00:02.000\nHello, world.\n"
        "\n01:02:00.000 --> 01:02:05.006\na &lt;b&gt; &amp; c --&gt; d next\n"
        "\n01:02:06.000 --> 01:02:07.000\n[...]\n"
    )
    assert render(NOTHING, "vtt", "") == "WEBVTT\n"


def test_json():
    text = render(TRANSCRIPT, "json", "Write.")
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "file": "a.wav",
        "prompt": "Write.",
        "language": None,
        "duration_s": 4000.0,
        "elapsed_s": 1000.0,
        "real_time_factor": 0.25,
        "complete": True,
        "error": None,
        "notes": [],
        "text": "Hello, world. a <b> & c --> d next [...]",
        "segments": [
            {
                "start_s": 0.5,
                "end_s": 2.0,
                "text": "Hello, world.",
                "confidence": 0.9877,
                "gap": False,
                "channel": None,
            },
            {"start_s": 2.5, "end_s": 3.0, "text": "", "confidence": None, "gap": False, "channel": None},
            {
                "start_s": 3720.0,
                "end_s": 3725.006,
                "text": "a <b> & c --> d\n\nnext",
                "confidence": 0.5,
                "gap": False,
                "channel": None,
            },
            {"start_s": 3726.0, "end_s": 3727.0, "text": "", "confidence": None, "gap": True, "channel": None},
        ],
    }


def test_a_moment_just_below_a_minute_does_not_become_sixty_seconds():
    assert timestamp(59.9996) == "00:01:00.000"
    assert timestamp(3599.9999, ",") == "01:00:00,000"


def test_the_real_time_factor_of_an_interrupted_recording_counts_what_was_done():
    half = Transcript(
        file="a.wav", segments=SEGMENTS[:1], duration_s=4000.0, elapsed_s=1.0, error=None, is_complete=False
    )
    assert half.real_time_factor == 0.5
    assert half.reached_s == 2.0


def test_channels_transcribed_on_their_own_are_named():
    """Otherwise nobody knows who of a call said what."""
    call = Transcript(
        file="call.wav",
        segments=(
            Segment(start_s=0.0, end_s=2.0, text="Hello?", confidence=0.9, channel=1),
            Segment(start_s=1.5, end_s=3.0, text="a <b>", confidence=0.9, channel=2),
            Segment(start_s=3.0, end_s=4.0, text="", confidence=None, channel=2),
        ),
        duration_s=4.0,
        elapsed_s=1.0,
        error=None,
        is_complete=True,
        language="en",
    )
    assert render(call, "txt", "") == "Channel 1: Hello?\nChannel 2: a <b>\n"
    assert "\nChannel 1: Hello?\n\n2\n00:00:01,500 --> " in render(call, "srt", "")
    assert "\n<v Channel 1>Hello?\n" in render(call, "vtt", "")
    assert "\n<v Channel 2>a &lt;b&gt;\n" in render(call, "vtt", "")
    written = json.loads(render(call, "json", ""))
    assert [segment["channel"] for segment in written["segments"]] == [1, 2, 2]
    assert (written["text"], written["language"]) == ("Hello? a <b>", "en")
