"""`kill -9` at random moments: the same command goes on, has every answer once, and gives the same figures."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.runs.folder import read_records, suite_folder
from support.bundles import nano_bundle

SUITE = "items:contains"
ITEMS = 240
KILLS = int(os.environ.get("EDGEPHI_EVALUATE_KILLS", "20"))


def _data(folder: Path) -> Path:
    folder.mkdir()
    words = ("red", "lamp", "open", "tree", "cat", "small", "kitchen", "door")
    rng = random.Random(5)
    lines = []
    for number in range(ITEMS):
        text = " ".join(rng.choice(words) for _ in range(rng.randint(2, 9)))
        lines.append(json.dumps({"id": str(number), "prompt": f"Repeat: {text}", "answers": [text]}) + "\n")
    (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def _start(data: Path, folder: Path) -> subprocess.Popen[bytes]:
    program = "from edgephi.__main__ import program; program()"
    arguments = ["evaluate", str(nano_bundle()), SUITE, "--data", str(data), "-o", str(folder), "--threads", "1"]
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _done(folder: Path) -> int:
    path = suite_folder(folder, SUITE) / "items-1-of-1.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_killed_runs_come_out_as_one(tmp_path: Path):
    data = _data(tmp_path / "data")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _, errors = (run := _start(data, whole)).communicate()
    assert run.returncode == 0, errors
    rng = random.Random(6)
    for kill in range(KILLS):
        run = _start(data, killed)
        # A part of the work so short that the last kill still finds some left, or any moment of the start.
        until = _done(killed) + (0 if kill % 4 == 3 else rng.randint(0, (ITEMS - 20) // KILLS - 2))
        while run.poll() is None and _done(killed) < until:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert 0 < _done(killed) < ITEMS
    _, errors = (run := _start(data, killed)).communicate()
    assert run.returncode == 0, errors
    sides = [{record.id: record for record in read_records(suite_folder(one, SUITE))} for one in (whole, killed)]
    assert sorted(sides[1]) == sorted(map(str, range(ITEMS)))
    assert {n: r.reply for n, r in sides[0].items()} == {n: r.reply for n, r in sides[1].items()}
    first, second = (read_reports((one,), None)[0].summaries[0].whole for one in (whole, killed))
    assert first == second
