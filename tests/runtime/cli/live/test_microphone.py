"""A microphone without a sound card: PortAudio's calls, and one line for everything that can be missing."""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.cli.live.microphone import Microphone
from support.shell import invoke

TONE = (0.1 * np.sin(np.arange(4_800) / 9)).astype(np.float32)


class _PortAudioError(Exception):
    pass


class _Stream:
    """Calls back from a thread of its own, as PortAudio does, and then is unplugged."""

    def __init__(self, **options: Any) -> None:
        assert (options["channels"], options["dtype"], options["samplerate"]) == (1, "float32", 48_000)
        self._take: Callable[..., None] = options["callback"]
        self._finished: Callable[[], None] = options["finished_callback"]
        self._size: int = options["blocksize"]

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        for start in range(0, len(TONE), self._size):
            buffer = bytearray(TONE[start : start + self._size].tobytes())
            self._take(memoryview(buffer), self._size, None, SimpleNamespace(input_overflow=start == 0))
            buffer[:] = bytes(len(buffer))  # PortAudio uses it again
        self._finished()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("sounddevice")
    made.PortAudioError = _PortAudioError  # type: ignore[attr-defined]
    made.RawInputStream = _Stream  # type: ignore[attr-defined]
    made.query_devices = lambda *_: {"default_samplerate": 48_000.0}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def test_every_sample_comes_at_the_devices_own_rate(library: ModuleType):
    microphone = Microphone(None)
    assert (microphone.sample_rate_hz, microphone.can_wait) == (48_000, False)
    np.testing.assert_array_equal(np.concatenate(list(microphone.blocks(lambda: False))), TONE)
    assert microphone.notes() == ["the microphone lost audio 1 times: this machine was too busy to take it"]


def test_it_ends_when_nobody_wants_more(library: ModuleType):
    assert list(Microphone(None).blocks(lambda: True)) == []


@pytest.mark.parametrize(("given", "asked"), [(None, None), ("3", 3), ("USB mic", "USB mic")])
def test_a_device_is_a_number_or_a_name(library: ModuleType, given: str | None, asked: object):
    queries: list[tuple[object, ...]] = []
    library.query_devices = lambda *query: queries.append(query) or {"default_samplerate": 16_000.0}  # type: ignore
    Microphone(given)
    assert queries == [(asked, "input")]


@pytest.mark.parametrize("error", [_PortAudioError("Error querying device -1"), ValueError("No input device")])
def test_a_device_that_is_not_there_is_one_line(library: ModuleType, error: Exception):
    def fail(*_: object) -> None:
        raise error

    library.query_devices = fail  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"microphone 'USB' cannot be used \(.*--device, or pipe audio in"):
        Microphone("USB")


def test_a_device_that_cannot_be_opened_is_one_line(library: ModuleType):
    def fail(**_: object) -> None:
        raise _PortAudioError("Device unavailable")

    library.RawInputStream = fail  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"the microphone cannot be used \(Device unavailable\)"):
        list(Microphone(None).blocks(lambda: False))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("sounddevice"), 'pip install "edgephi[microphone]"'),
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
    ],
)
def test_what_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str):
    real = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise error
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(EdgeError) as caught:
        Microphone(None)
    assert words in str(caught.value)
    done = invoke("captions", "no-such-model")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
