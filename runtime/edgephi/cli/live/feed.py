"""Live audio on its way into a transcription, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgephi.transcription.live.session import LiveTranscription

#: Speech that waits for the model before a source that can wait has to.
_MOST_WAITING_S = 30.0
_POLL_S = 0.05


class LiveSource(Protocol):
    """Audio that comes with time."""

    @property
    def sample_rate_hz(self) -> int:
        """Of its samples."""

    @property
    def can_wait(self) -> bool:
        """Whether it may be read later: a pipe's writer waits, a microphone does not."""

    def blocks(self, is_closed: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """float32 [n] each, mono, as they come; ends with the source, or soon after `is_closed` returns True."""

    def notes(self) -> list[str]:
        """Remarks for the user once it has ended, a line each."""


class Feed:
    """Pushes a source's audio into a transcription while its `with` block lasts.

    Args:
        source: Read by the thread of this.
        session: Ended when the source has, also where it ends by an error.

    Attributes:
        error: What ended the source; None where it came to its end.
    """

    def __init__(self, source: LiveSource, session: LiveTranscription) -> None:
        self._source = source
        self._session = session
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgephi-live-audio", daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for block in self._source.blocks(self._closed.is_set):
                self._session.push(block)
                while self._source.can_wait and self._session.waiting_s > _MOST_WAITING_S:
                    if self._closed.wait(_POLL_S):
                        return
        except BaseException as raised:  # raised where the captions are read
            self.error = raised
        finally:
            self._session.end()
