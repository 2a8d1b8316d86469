"""Audio that another program writes into standard input."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from edgephi.audio.pcm_stream import PcmFormat, open_pcm_stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgephi.audio.channel_choice import Channel

_BLOCK_BYTES = 1 << 16
_POLL_S = 0.1


class PipedAudio:
    """A WAV, or raw samples, of which each part is used when it comes.

    Args:
        stream: Bytes. Its header is read at once.
        name: For messages.
        raw: The format of samples without a header; None for a WAV.
        channel: `mix` for the average of all, or the number of one from 1.

    Raises:
        ConfigError: See `open_pcm_stream`.
    """

    can_wait = True

    def __init__(self, stream: IO[bytes], name: str, raw: PcmFormat | None, channel: Channel) -> None:
        self._stream = stream
        self._name = name
        self._is_closed: Callable[[], bool] = lambda: False
        self._opened = open_pcm_stream(self._read, name, raw, channel)

    @property
    def sample_rate_hz(self) -> int:
        """Of its samples."""
        return self._opened.stream.form.sample_rate_hz

    def blocks(self, is_closed: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """See LiveSource."""
        self._is_closed = is_closed
        return self._opened.blocks

    def notes(self) -> list[str]:
        """Whether it ended too soon."""
        missing = self._opened.stream.missing_bytes
        return [f"{self._name}: ended {missing:,} bytes before its header says"] if missing else []

    def _read(self) -> bytes:
        """What has come, at most a block; nothing at the end and once nobody wants it."""
        while not _is_ready(self._stream):
            if self._is_closed():
                return b""
        if self._is_closed():
            return b""
        content: bytes = self._stream.read1(_BLOCK_BYTES)  # type: ignore[attr-defined]
        return content


def _is_ready(stream: IO[bytes]) -> bool:
    """Whether a read would not wait. A thread that waits in a read can keep the process from ending."""
    try:
        descriptor = stream.fileno()
    except OSError:  # no file of the system: what it holds is there
        return True
    return bool(select.select([descriptor], [], [], _POLL_S)[0])
