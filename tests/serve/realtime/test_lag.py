"""A minute of speech, sent as it is spoken: how far behind its captions are.

`make lag MODEL=folder` measures a folder of true size with random weights, which end no text: each ends after 3 tokens
a second of speech. Without one it is the demo's, which shows what the server itself adds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support import paced_edgephi
from support.bundles import nano_bundle
from support.realtime import BUFFER, TRANSCRIPT, Session, session, speech
from support.serve_process import Running, end, launch

HERTZ = 16_000
CHUNK_S = 0.1
PAUSE_S = 0.5
MINUTE_S = 60


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    random = os.environ.get("EDGEPHI_LAG_MODEL")
    program = (paced_edgephi.__file__,) if random else ("-m", "edgephi")
    started = launch(tmp_path / "log", "--threads", "2", model=Path(random or nano_bundle()), program=program)
    yield started
    end(started)


def _play(opened: Session, samples: np.ndarray, began_s: float) -> None:
    """Send audio no sooner than it would be recorded."""
    size = round(CHUNK_S * HERTZ)
    for number, start in enumerate(range(0, len(samples), size), 1):
        time.sleep(max(0.0, began_s + number * CHUNK_S - time.monotonic()))
        opened.append(samples[start : start + size].tobytes())
    opened.commit()


def _first_caption_s(url: str) -> float:
    """What the first sentence after the server's start takes, for which the graphs with adapters are loaded."""
    began_s = time.monotonic()
    with session(url, format={"type": "audio/pcm", "rate": HERTZ}) as opened:
        opened.append(speech(0.5, hertz=HERTZ).tobytes())
        opened.until(f"{TRANSCRIPT}completed")
    return time.monotonic() - began_s


@pytest.mark.slow
def test_captions_keep_up_with_speech(running: Running, capsys: pytest.CaptureFixture[str]):
    samples = speech(*[0.9, 1.4, 0.7, 2.0] * 12, hertz=HERTZ)[: MINUTE_S * HERTZ]
    first_s = _first_caption_s(running.url)
    lags, most = [], []
    with session(running.url, format={"type": "audio/pcm", "rate": HERTZ}, include=["edgephi.tail"]) as opened:
        began_s = time.monotonic()
        playing = threading.Thread(target=_play, args=(opened, samples, began_s))
        playing.start()
        seen = 0
        while playing.is_alive() or len(opened.all(f"{TRANSCRIPT}completed")) < len(opened.all(f"{BUFFER}committed")):
            event = opened.next()
            stops = {one.item_id: one.audio_end_ms / 1000 for one in opened.all(f"{BUFFER}speech_stopped")}
            if event.type == f"{TRANSCRIPT}completed" and event.item_id in stops:
                seen += 1
                lags.append(time.monotonic() - began_s - stops[event.item_id])
                most.append(PAUSE_S + 0.5 * event.usage.seconds + 0.5)
        playing.join()
        left_s = time.monotonic() - began_s - MINUTE_S
    figures = f"lag {np.median(lags):.2f} s, p95 {np.percentile(lags, 95):.2f} s, at the end {left_s:.2f} s"
    with capsys.disabled():
        print(f"\n{seen} items; {figures}; first sentence after the start {first_s:.1f} s")
    assert seen >= 8
    assert np.percentile(np.subtract(lags, most), 95) <= 0
    assert left_s <= 3
    assert not opened.all(f"{TRANSCRIPT}failed")
    assert not opened.all("error")
