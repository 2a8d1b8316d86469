"""The text of a session is what `edgephi transcribe` writes of the same file, for twenty files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from support.bundles import nano_bundle
from support.realtime import TRANSCRIPT, session, speech

#: Pauses before each piece of speech, the rate, and the level of the noise.
FILES = [
    (tuple(np.random.default_rng(seed).uniform(0.2, 1.6, 1 + seed % 6)), (24_000, 16_000, 8_000)[seed % 3], seed % 4)
    for seed in range(20)
]


@pytest.mark.slow
@pytest.mark.parametrize(("pauses", "hertz", "noise"), FILES, ids=range(20))
def test_a_session_writes_what_the_command_writes(server, tmp_path, pauses, hertz, noise):
    samples = speech(*pauses, hertz=hertz)
    rough = np.random.default_rng(hertz).normal(0, 10 * noise, len(samples))
    samples = np.clip(samples + rough, -32768, 32767).astype("<i2")
    soundfile.write(tmp_path / "a.wav", samples, hertz, subtype="PCM_16")
    command = [sys.executable, "-m", "edgephi", "transcribe", str(nano_bundle()), str(tmp_path / "a.wav")]
    options = ["--window-s", "20", "--pause-s", "0.6", "--format", "txt"]
    written = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=True).stdout
    expected = written.splitlines()
    detection = {"type": "server_vad", "silence_duration_ms": 600}
    with session(server.url, format={"type": "audio/pcm", "rate": hertz}, turn_detection=detection) as opened:
        opened.append(samples.tobytes(), 4_001)
        opened.commit()
        opened.until("conversation.item.done", len(expected))
        while len(opened.texts()) < len(opened.all("conversation.item.done")):
            opened.next()
    assert [text for text in opened.texts() if text] == expected
    assert not opened.all(f"{TRANSCRIPT}failed")
