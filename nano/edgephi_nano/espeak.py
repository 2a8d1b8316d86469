"""Speech from text through the espeak-ng C library.

Needs the system packages `libespeak-ng1` and `espeak-ng-data`; nothing runs on import.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import soxr

from edgephi_nano.config import SAMPLE_RATE_HZ

_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7  # espeak_PARAMETER
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How something is said.

    Attributes:
        name: espeak-ng voice with its variant, e.g. "en-us+f3".
        rate: Words per minute, 80..450.
        pitch: 0..100, 50 is the voice's own.
        pitch_range: 0 (monotone) to 100, 50 is the voice's own.
        word_gap: Extra pause between words, in 10 ms at the default rate.
    """

    name: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0


class _Library:
    """The loaded library and the samples its callback collects."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        self.library = ctypes.CDLL(path)
        self.source_hz = int(self.library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0))
        if self.source_hz <= 0:
            raise OSError("espeak-ng did not start; install the packages libespeak-ng1 and espeak-ng-data")
        self.chunks: list[np.ndarray] = []
        self.callback = _Callback(self._collect)  # kept: the library holds only a pointer
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: Voice) -> np.ndarray:
        if self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name!r}")
        settings = (
            (_RATE, voice.rate),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
            (_WORD_GAP, voice.word_gap),
        )
        for parameter, value in settings:
            self.library.espeak_SetParameter(parameter, value, 0)
        self.chunks.clear()
        data = text.encode("utf-8") + b"\0"
        self.library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, _UTF8, None, None)
        return np.concatenate(self.chunks) if self.chunks else np.zeros(0, np.int16)


@lru_cache(maxsize=1)
def _library() -> _Library:
    return _Library()


def say(text: str, voice: Voice) -> np.ndarray:
    """Speak `text`.

    Returns:
        float32 [n] in -1..1 at 16 kHz.
    """
    library = _library()
    samples = library.say(text, voice).astype(np.float32) / 32768
    return soxr.resample(samples, library.source_hz, SAMPLE_RATE_HZ).astype(np.float32)


def say_all(spoken: Sequence[tuple[str, Voice]]) -> list[np.ndarray]:
    """Speak every text in a process of its own, so that the result depends on nothing said before.

    The library's voices waver with the time it has been speaking, and nothing resets that clock.

    Returns:
        float32 [n] in -1..1 at 16 kHz for each text.

    Raises:
        subprocess.CalledProcessError: The library is missing or has no such voice; the reason is on stderr.
    """
    request = json.dumps([[text, asdict(voice)] for text, voice in spoken])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", "from edgephi_nano.espeak import answer_request; answer_request()"]
    done = subprocess.run(command, input=request.encode(), stdout=subprocess.PIPE, check=True, env=environment)
    with np.load(io.BytesIO(done.stdout)) as archive:
        return [archive[str(i)] for i in range(len(spoken))]


def answer_request() -> None:
    """The other side of `say_all`: JSON on stdin, an npz archive on stdout."""
    request = json.load(sys.stdin)
    clips = {str(i): say(text, Voice(**voice)) for i, (text, voice) in enumerate(request)}
    archive = io.BytesIO()
    np.savez(archive, **clips)
    sys.stdout.buffer.write(archive.getvalue())
