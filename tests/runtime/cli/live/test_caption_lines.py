"""What a terminal, a file and a program get of captions."""

from __future__ import annotations

import json
import sys

import pytest

from edgephi.cli.live.caption_lines import TerminalLines, caption_lines, fitted
from edgephi.transcription.live.captions import Caption, FinalCaption, LostCaption, PartialCaption
from edgephi.transcription.transcript import Segment


def partial(settled: str, tail: str) -> PartialCaption:
    return PartialCaption(number=0, start_s=1.0, settled=settled, added="", tail=tail, lag_s=0.25)


def final(*texts: str) -> FinalCaption:
    segments = tuple(
        Segment(start_s=1.0, end_s=2.0, text=text, confidence=None if text == "" else 0.5, is_gap=text == "")
        for text in texts
    )
    return FinalCaption(number=0, segments=segments, lag_s=0.6)


CAPTIONS: list[Caption] = [
    partial("", "one two"),
    partial("one", " two\x1b[2J"),
    final("one two", ""),
    LostCaption(number=1, start_s=3.0, end_s=5.5),
]


def test_a_terminal_rewrites_its_last_line_and_keeps_what_is_final(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "21")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = caption_lines(as_json=False)
    assert isinstance(lines, TerminalLines)
    for caption in CAPTIONS:
        lines.write(caption)
    lines.write(partial("three", ""))
    lines.close()
    shown = capsys.readouterr()
    assert shown.out == (
        "\r\x1b[K\x1b[2mone two\x1b[0m"
        "\r\x1b[Kone\x1b[2m two\N{REPLACEMENT CHARACTER}[2J\x1b[0m"
        "\r\x1b[Kone two\n[...]\n"
        "\r\x1b[Kthree\x1b[2m\x1b[0m\r\x1b[K"
    )
    assert shown.err == "note: what was said from 3.0 s to 5.5 s is left out: the machine is too far behind\n"


@pytest.mark.parametrize("setting", [("TERM", "dumb"), None])
def test_a_dumb_terminal_and_a_pipe_get_final_lines_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: tuple[str, str] | None
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: setting is not None)
    if setting is not None:
        monkeypatch.setenv(*setting)
    lines = caption_lines(as_json=False)
    for caption in CAPTIONS:
        lines.write(caption)
    lines.close()
    assert capsys.readouterr().out == "one two\n[...]\n"


def test_json_has_every_caption_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]):
    lines = caption_lines(as_json=True)
    for caption in CAPTIONS:
        lines.write(caption)
    lines.close()
    made = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [one["type"] for one in made] == ["partial", "partial", "final", "lost"]
    assert made[1] == {
        "type": "partial", "number": 0, "start_s": 1.0, "settled": "one", "tail": " two\x1b[2J", "lag_s": 0.25,
    }  # fmt: skip
    assert (made[2]["text"], made[2]["end_s"], made[2]["lag_s"]) == ("one two [...]", 2.0, 0.6)
    assert [segment["gap"] for segment in made[2]["segments"]] == [False, True]
    assert made[3] == {"type": "lost", "number": 1, "start_s": 3.0, "end_s": 5.5}


@pytest.mark.parametrize(
    ("settled", "tail", "columns", "expected"),
    [
        ("one", " two", 7, ("one", " two")),
        ("one", " two", 6, ("…e", " two")),
        ("one", " two", 5, ("", "… two")),
        ("one", " two", 4, ("", "…two")),
        ("", "", 8, ("", "")),
        ("今天", "天气", 8, ("今天", "天气")),
        ("今天", "天气", 7, ("…天", "天气")),
        ("今天", "天气", 6, ("", "…天气")),
        ("今天", "天气", 4, ("", "…气")),
    ],
)
def test_of_a_long_text_the_end_is_shown(settled: str, tail: str, columns: int, expected: tuple[str, str]):
    assert fitted(settled, tail, columns) == expected
