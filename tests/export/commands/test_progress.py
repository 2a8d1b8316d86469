"""What an export says of its progress must be true and readable."""

from __future__ import annotations

import pytest

from edgephi_export.commands.display import describe, progress_display
from edgephi_export.progress import Progress

STEP = Progress(
    stage="decoder",
    tensors=12,
    total_tensors=1003,
    read_bytes=2_000_000_000,
    total_read_bytes=7_670_000_000,
    written_bytes=840_000_000,
    total_written_bytes=3_190_000_000,
)


def test_a_line_has_tensors_bytes_rate_and_time_left():
    line = describe(STEP, 10.0)
    assert line == "12/1,003 tensors, 2.00/7.67 GB in, 0.84/3.19 GB out, 200 MB/s, 28 s left"
    assert len(line) < 74  # beside the bar, on 80 columns


def test_nothing_is_divided_by_nothing():
    start = Progress(stage="", total_tensors=1, total_read_bytes=1, total_written_bytes=1)
    assert describe(start, 0.0) == "0/1 tensors, 0.00/0.00 GB in, 0.00/0.00 GB out, 0 MB/s"


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]):
    with progress_display(quiet=True) as on_progress:
        assert on_progress is None
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_is_a_line_per_stage_and_then_one_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 1.0, 5.0, 12.0, 13.0])
    monkeypatch.setattr("edgephi.console.progress_bar.time.monotonic", lambda: next(clock))
    with progress_display(quiet=False) as on_progress:
        assert on_progress is not None
        for _ in range(5):
            on_progress(STEP)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "writing decoder"
    assert second.startswith("writing decoder: 12/1,003 tensors, 2.00/7.67 GB in")
