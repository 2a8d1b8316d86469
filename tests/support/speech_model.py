"""For tests of transcription: tones with known pauses, a detector that only measures loudness, and a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.generation.reply import Choice, DoneEvent, Event, FinishReason, Reply, TextEvent, TokenEvent
from edgephi.generation.timing import Timing
from edgephi.transcription.speech import FRAME_S, Frame

LOGPROB = -0.25
_NO_TIME = Timing(
    prompt_tokens=0,
    cached_tokens=0,
    new_tokens=0,
    preprocess_s=0,
    encode_s=0,
    prefill_s=0,
    ttft_s=0,
    decode_s=0,
    peak_rss_bytes=0,
)


def loudness(samples: NDArray[np.float32]) -> float:
    """A detector: 1.0 where anything is loud."""
    return float(np.abs(samples).max() > 0.01)


def tone(seconds: float, hertz: int = 16_000, level: float = 0.3) -> NDArray[np.float32]:
    """float32 [n]."""
    return (level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * hertz)) / hertz)).astype(np.float32)


def turns(*seconds: float, hertz: int = 16_000) -> NDArray[np.float32]:
    """Silence and a tone by turns, silence first."""
    parts = [tone(length, hertz, 0.3 * (i % 2)) for i, length in enumerate(seconds)]
    return np.concatenate(parts)


def frames_of(samples: NDArray[np.float32]) -> list[Frame]:
    """The frames of a recording at 16 kHz, judged by loudness."""
    size = round(FRAME_S * 16_000)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [Frame(piece, loudness(piece)) for piece in pieces]


class FakeModel:
    """Answers each window with the token ids that `script` gives for it; a token's text is its number.

    Attributes:
        windows: The samples of every request so far.
        prompts: Their prompts.
        predictions: Likewise.
        budgets: Their `max_new_tokens`.
        made: How many tokens were really made for each.
        ahead: The samples of every window encoded ahead.
    """

    def __init__(self, script: Callable[[int, NDArray[np.float32]], Sequence[int]]) -> None:
        self._script = script
        self.windows: list[NDArray[np.float32]] = []
        self.prompts: list[str] = []
        self.predictions: list[str] = []
        self.budgets: list[int] = []
        self.made: list[int] = []
        self.ahead: list[NDArray[np.float32]] = []

    def __enter__(self) -> FakeModel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def encode_ahead(self, *, audio: Any, should_stop: Callable[[], bool] = lambda: False) -> Any:
        """See Model.encode_ahead."""
        ((samples, _),) = audio
        self.ahead.append(samples)
        return audio

    def stream(
        self, messages: str, *, audio: Any, options: Any, should_stop: Callable[[], bool] = lambda: False
    ) -> Generator[Event, None, None]:
        """See Model.stream."""
        ((samples, _),) = audio
        ids = self._script(len(self.windows), samples)
        self.windows.append(samples)
        self.prompts.append(messages)
        self.predictions.append(options.prediction)
        self.budgets.append(options.max_new_tokens)
        self.made.append(0)
        pieces: list[str] = []
        reason: FinishReason = "stop"
        for index, token_id in enumerate(ids):
            if should_stop():
                reason = "cancelled"
                break
            if index == options.max_new_tokens:
                reason = "length"
                break
            self.made[-1] += 1
            yield TokenEvent(Choice(token_id, LOGPROB), index)
            pieces.append(f" {token_id}")
            yield TextEvent(pieces[-1])
        logprobs = tuple(Choice(token_id, LOGPROB) for token_id, _ in zip(ids, pieces, strict=False))
        yield DoneEvent(
            Reply(
                text="".join(pieces),
                token_ids=tuple(choice.token_id for choice in logprobs),
                finish_reason=reason,
                tool_calls=(),
                timing=_NO_TIME,
                logprobs=logprobs,
            )
        )
