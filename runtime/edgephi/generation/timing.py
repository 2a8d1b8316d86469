"""Wall-clock times of one request, stage by stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from typing import Literal, TypeAlias, get_args

from edgephi.ort.device_names import DeviceName

try:
    import resource
except ModuleNotFoundError:  # not on every system
    resource = None  # type: ignore[assignment]

TimedStage: TypeAlias = Literal["queue", "load", "preprocess", "encode", "prefill", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall-clock facts of one generation. Rates are derived, never stored.

    Attributes:
        prompt_tokens: Positions before the first new token, media rows included.
        cached_tokens: Of these, positions whose keys and values were in the cache.
        image_tokens: Positions of all images, cached or not.
        audio_tokens: Likewise, of all audio inputs.
        new_tokens: Tokens generated, the closing one included.
        queue_s: Waiting for earlier requests.
        load_s: Loading the decoder again, with its adapters, because this request is the first to need them.
        preprocess_s: Reading media, mel and crops, template and tokenizer.
        encode_s: Audio and image encoders, loading them on first use included.
        prefill_s: The decoder's forward passes over the prompt.
        ttft_s: Request accepted -> first token id known: the five above and what lies between.
        decode_s: Making every token after the first; what the caller does between two events is not in it.
        peak_rss_bytes: Most memory the process has held so far; 0 where the system does not state it.
        device: What computed, as in `ModelOptions.device`.
    """

    prompt_tokens: int
    cached_tokens: int
    image_tokens: int = 0
    audio_tokens: int = 0
    new_tokens: int
    queue_s: float = 0.0
    load_s: float = 0.0
    preprocess_s: float
    encode_s: float
    prefill_s: float
    ttft_s: float
    decode_s: float
    peak_rss_bytes: int
    device: DeviceName = "cpu"

    @property
    def decode_tok_s(self) -> float:
        """Tokens per second after the first; 0.0 when only one token was made."""
        return (self.new_tokens - 1) / self.decode_s if self.new_tokens > 1 and self.decode_s > 0 else 0.0

    @property
    def prefill_tok_s(self) -> float:
        """Prompt positions per second of prefill, those that were cached left out."""
        return (self.prompt_tokens - self.cached_tokens) / self.prefill_s if self.prefill_s > 0 else 0.0


@dataclass(slots=True, kw_only=True)
class StageTimer:
    """Seconds of each stage of one request while it runs.

    Attributes:
        started_s: `time.perf_counter()` when the request was accepted.
        cached_tokens: See Timing.
        image_tokens: See Timing.
        audio_tokens: See Timing.
        first_token_s: `time.perf_counter()` when the first id was known; 0.0 before.
        seconds: By stage.
        parse_s: Seconds that were spent on reading the request's messages, part of preprocess.
        device: See Timing.
    """

    parse_s: InitVar[float] = 0.0
    device: DeviceName = "cpu"
    started_s: float = field(default_factory=time.perf_counter)
    cached_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0
    first_token_s: float = 0.0
    seconds: dict[TimedStage, float] = field(default_factory=lambda: dict.fromkeys(get_args(TimedStage), 0.0))

    def __post_init__(self, parse_s: float) -> None:
        self.started_s -= parse_s
        self.seconds["preprocess"] = parse_s

    def end_queue(self) -> None:
        """The request's turn has come."""
        self.seconds["queue"] = time.perf_counter() - self.started_s - self.seconds["preprocess"]

    @contextmanager
    def measure(self, stage: TimedStage) -> Iterator[None]:
        """Add the seconds of a block to a stage, however the block ends."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - before

    def timing(self, prompt_tokens: int, new_tokens: int) -> Timing:
        """The finished request's record; `ttft_s` is 0.0 when no token was made."""
        seconds = self.seconds
        return Timing(
            prompt_tokens=prompt_tokens,
            cached_tokens=min(self.cached_tokens, max(prompt_tokens - 1, 0)),  # the last one has no logits
            image_tokens=self.image_tokens,
            audio_tokens=self.audio_tokens,
            new_tokens=new_tokens,
            queue_s=seconds["queue"],
            load_s=seconds["load"],
            preprocess_s=seconds["preprocess"],
            encode_s=seconds["encode"],
            prefill_s=seconds["prefill"],
            ttft_s=self.first_token_s - self.started_s if new_tokens else 0.0,
            decode_s=seconds["decode"],
            peak_rss_bytes=peak_rss_bytes(),
            device=self.device,
        )


def peak_rss_bytes() -> int:
    """Most memory this process has held so far; 0 where the system does not state it."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
