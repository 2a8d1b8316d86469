"""Hours of a light mixed load: nothing grows, nothing fails. `make soak` runs it for `EDGEPHI_SOAK_S` seconds."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from edgephi.bundle.bundle import MANIFEST_NAME
from support.bundles import copy_bundle, nano_bundle
from support.serve_process import Running, end, launch
from support.soak import MixedLoad, Sample, line_of, rss_slope

pytestmark = pytest.mark.slow

SOAK_S = float(os.environ.get("EDGEPHI_SOAK_S", "60"))
RELOAD_S = min(180.0, SOAK_S / 8)
RATE = 2
#: So fast, until caches are full and every kind of request and a reload were there; the first quarter of all samples
#: is not counted either.
WARM_UP_RATE = 20
WARM_UP_S = 40
MAX_SLOPE_MB = 1.0
#: The memory of a process moves by so much from sample to sample; a short run cannot show a small slope.
MIN_RISE_MB = 8.0


def test_nothing_grows_in_hours_of_mixed_load(tmp_path):
    folder = copy_bundle(nano_bundle(), tmp_path / "model")
    running = launch(tmp_path / "log", "--log", "json", "--cache-bytes", "8000000", model=folder)

    def reload() -> None:
        fresh = copy_bundle(folder, tmp_path / "fresh")
        with (fresh / MANIFEST_NAME).open("a", encoding="utf-8") as manifest:
            manifest.write("\n")
        folder.rename(tmp_path / "old")
        fresh.rename(folder)
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stdout.readline() == "serving model, loaded again\n"
        shutil.rmtree(tmp_path / "old")

    try:
        load = MixedLoad(running, reload=reload, reload_s=RELOAD_S)
        samples = _soaked(running, load)
        with running.client() as client:
            assert client.get("/health").json() == {"status": "ok"}
    finally:
        end(running)
    assert load.wrong == []
    log = (tmp_path / "log").read_text()
    assert "failure" not in log
    assert "Traceback" not in log
    _check(samples)


def _soaked(running: Running, load: MixedLoad) -> list[Sample]:
    """A sample for each minute, or 20 of a short run."""
    period_s = min(60.0, SOAK_S / 20)
    load.run(WARM_UP_S, WARM_UP_RATE)
    ends_s = time.monotonic() + SOAK_S
    samples: list[Sample] = []
    while time.monotonic() < ends_s:
        load.run(period_s, RATE)
        samples.append(Sample(load.requests, running.settled(60)))
        print(line_of(len(samples), load, samples[-1]), flush=True)
    return samples


def _check(samples: list[Sample]) -> None:
    start = len(samples) // 4
    before, after = samples[:start], samples[start:]
    slope_mb = rss_slope(after)
    thousands = (after[-1].requests - after[0].requests) / 1000
    print(f"memory grows by {slope_mb:.2f} MB per 1,000 requests, over {thousands:.2f} thousand")
    assert slope_mb * thousands <= max(MAX_SLOPE_MB * thousands, MIN_RISE_MB)
    assert max(one.state.files for one in after) <= max(one.state.files for one in before)
    last = samples[-start:]  # a thread that is kept for ever is in all of them, one that ends at this moment is not
    assert min(one.state.threads for one in last) <= max(one.state.threads for one in before)
