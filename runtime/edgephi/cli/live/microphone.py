"""A microphone, by the library sounddevice, which is imported only here."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephi.base.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_S = 0.032
_POLL_S = 0.1
_OR_PIPE = "or pipe audio in and give `-`"


class Microphone:
    """Recorded at the device's own rate.

    Args:
        device: Its number or a part of its name; None for the system's own choice.

    Raises:
        ConfigError: There is no such microphone, or it cannot be opened.
        EdgeError: sounddevice or the PortAudio library is missing.
    """

    can_wait = False

    def __init__(self, device: str | None) -> None:
        self._library = _sounddevice()
        self._device: int | str | None = int(device) if device is not None and device.isdecimal() else device
        self._called = "the microphone" if device is None else f"microphone {device!r}"
        try:
            found = self._library.query_devices(self._device, "input")
        except (ValueError, self._library.PortAudioError) as error:
            raise self._unusable(error) from None
        self._sample_rate_hz = int(found["default_samplerate"])
        self._num_overflows = 0

    @property
    def sample_rate_hz(self) -> int:
        """Of its samples."""
        return self._sample_rate_hz

    def blocks(self, is_closed: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """See LiveSource.

        Raises:
            ConfigError: It cannot be opened.
        """
        recorded: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

        def take(samples: Any, _frames: int, _time: Any, status: Any) -> None:  # in PortAudio's thread: be quick
            self._num_overflows += bool(status.input_overflow)
            recorded.put(bytes(samples))

        try:
            with self._library.RawInputStream(
                samplerate=self._sample_rate_hz,
                blocksize=round(_BLOCK_S * self._sample_rate_hz),
                device=self._device,
                channels=1,
                dtype="float32",
                callback=take,
                finished_callback=lambda: recorded.put(None),
            ):
                while not is_closed():
                    with suppress(queue.Empty):
                        content = recorded.get(timeout=_POLL_S)
                        if content is None:  # it was unplugged
                            return
                        yield np.frombuffer(content, np.float32)
        except self._library.PortAudioError as error:
            raise self._unusable(error) from None

    def notes(self) -> list[str]:
        """Whether audio was lost before it got here."""
        if not self._num_overflows:
            return []
        return [f"{self._called} lost audio {self._num_overflows:,} times: this machine was too busy to take it"]

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"{self._called} cannot be used ({error}); `python -m sounddevice` lists what there is: choose one with "
            f"--device, {_OR_PIPE}"
        )


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise EdgeError(
            f'a microphone needs one more package; run: pip install "edgephi[microphone]", {_OR_PIPE}'
        ) from None
    except OSError as error:  # its own wheel holds no PortAudio on Linux
        raise EdgeError(
            f"a microphone needs the PortAudio library ({error}); install it, on Debian with "
            f"`apt-get install libportaudio2`, {_OR_PIPE}"
        ) from None
    return sounddevice
