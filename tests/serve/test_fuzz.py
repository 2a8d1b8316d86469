"""Requests that schemathesis makes from /openapi.json: every answer is one that the description allows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuzz

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/schemathesis/bin/python"
COUNT = int(os.environ.get("EDGEPHI_FUZZ", "1000"))
SEED = int(os.environ.get("EDGEPHI_FUZZ_SEED", "0"))
#: Making a request takes far longer than answering it.
PROCESSES = 2


def test_every_answer_is_described(start, tmp_path):
    running = start("--log", "json", "--max-new-tokens", "8", "--request-timeout", "0.5")
    print(f"{COUNT} requests, seed {SEED}")
    script = Path(__file__).with_name("fuzz_interface.py")
    command = [str(PYTHON), str(script), running.url, str(COUNT // PROCESSES)]
    outputs = [(tmp_path / f"out{number}").open("w+") for number in range(PROCESSES)]
    processes = [
        subprocess.Popen([*command, str(SEED * PROCESSES + number)], stdout=output, stderr=output, cwd=tmp_path)
        for number, output in enumerate(outputs)
    ]
    for process, output in zip(processes, outputs, strict=True):
        code = process.wait()
        output.seek(0)
        text = output.read()
        assert code == 0, text[-6000:]
        print(text.splitlines()[-1])
        output.close()
    with running.client() as client:
        assert client.get("/health").json() == {"status": "ok"}
    log = running.log.read_text()
    assert "failure" not in log
    assert "Traceback" not in log
