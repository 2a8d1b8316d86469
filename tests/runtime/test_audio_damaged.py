"""Damaged recordings: each is decoded or refused with one line; nothing else ever comes out."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from edgephi.audio import Waveform, load_audio
from edgephi.errors import EdgeError
from support.damage import damaged

KINDS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_24")]


def recording(kind: str, subtype: str) -> bytes:
    time = np.arange(12000) / 16000
    samples = 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time) + 0.01 * np.random.default_rng(5).normal(size=12000)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([samples, samples], axis=1), 16000, format=kind, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_damaged_recordings_decode_or_are_refused(tmp_path, kind, subtype):
    """One bad file in a folder of thousands must not end the run with a traceback (warnings are errors here)."""
    original, outcomes = recording(kind, subtype), set()
    for seed in range(60):
        data = damaged(original, seed, header_bytes=120)
        path = tmp_path / "clip.bin"
        path.write_bytes(data)
        for source in (data, path):
            try:
                waveform = load_audio(source)
            except EdgeError as error:
                outcomes.add("refused")
                lines = str(error).splitlines()
            else:
                assert isinstance(waveform, Waveform)
                assert np.isfinite(waveform.samples).all(), seed
                outcomes.add("decoded")
                lines = ["fine"]
            assert len(lines) == 1, seed
    assert "refused" in outcomes
