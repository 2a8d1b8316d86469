"""edgephi's `Model` on request: whole requests, stage by stage.

Every request differs from the ones before it in its first word and in its media, so that nothing of it is kept from an
earlier one. What only the measuring needs is loaded when it is asked for, so that it is not in the memory of a request.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from edgephi import DoneEvent, Model, ModelOptions, Reply, SamplingOptions, TokenEvent, __version__
from edgephi.bundle.bundle import TOKENIZER_NAME, Bundle
from edgephi.bundle.manifest import CacheKind
from edgephi.generation.detokenizer import TextStream
from edgephi.media.processor import MediaProcessor
from edgephi.ort.session import DeviceOptions, runtime
from edgephi.prompt.tokenizer import Tokenizer

DEFAULT_CACHE_BYTES = ModelOptions().cache_bytes
WORDS = " when the rain had stopped we walked along the river and talked about boats that had gone out in the morning"
_QUESTION = "Describe this."
_HERTZ = 16_000
#: Asked greedily of every model; what comes out depends on nothing but the model and the arithmetic.
SENTINEL_PROMPT = "Name the seven days of the week, then count from one to ten."


def prepare() -> None:
    """Import what a program that runs models has imported before it loads one."""
    runtime()


def open_engine(options: dict[str, Any]) -> RequestEngine:
    """Load the model folder `model` for `threads` threads and the kind of `kv_cache`; `cache_bytes` may be given."""
    cache_bytes = options.get("cache_bytes", DEFAULT_CACHE_BYTES)
    return RequestEngine(options["model"], options["threads"], options["kv_cache"], cache_bytes)


class RequestEngine:
    """One model and a count of its requests."""

    def __init__(self, model: str, threads: int, kv_cache: CacheKind, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.version = __version__
        self._model = Model.load(model, threads=threads, kv_cache=kv_cache, cache_bytes=cache_bytes)
        self._bundle = Bundle(model)
        self._device = DeviceOptions(threads=threads)
        self._tokenizer: Tokenizer | None = None
        self._count = 0

    def request(self, media: dict[str, Any], rounds: int, new_tokens: int) -> dict[str, Any]:
        """Seconds of every stage of one request.

        Args:
            media: `audio_s`, the length of the audio, or `image`, width and height of an image; empty for text.
            rounds: A text is so many times WORDS; with media it is a short question.
            new_tokens: The model is kept from ending before so many.
        """
        self._count += 1
        given = self._media(media)
        text = f"{self._count} {_QUESTION}" if given else self._text(rounds)
        stamps: list[float] = []
        before = time.perf_counter()
        reply = self._ask(text, given, new_tokens, stamps)
        return _stages(reply, stamps, time.perf_counter() - before)

    def own_request(self, own: dict[str, Any], new_tokens: int) -> dict[str, Any]:
        """Seconds of every stage of a user's own request: `prompt`, `images` and `audio` as paths.

        A short request before it leaves nothing of it in the cache: the stages of the last run must not be free.
        """
        self._count += 1
        self._ask(f"{self._count} {_QUESTION}", {}, 1, [])
        stamps: list[float] = []
        before = time.perf_counter()
        reply = self._ask(own["prompt"], {"images": own["images"], "audio": own["audio"]}, new_tokens, stamps)
        return _stages(reply, stamps, time.perf_counter() - before)

    def media_facts(self, media: dict[str, Any]) -> dict[str, int]:
        """How many positions the media of such a request take, and how many crops."""
        given = self._media(media)
        images = given.get("images", ())
        processor = MediaProcessor(self._bundle, self._device)
        items = processor.prepare(images, given.get("audio", ()))
        crops = sum(processor.num_steps(item) for item in items[: len(images)])
        return {"rows": sum(item.num_rows for item in items), "crops": crops}

    def detokenize(self, token_ids: list[int]) -> float:
        """Seconds for these ids, one at a time as while streaming."""
        stream = TextStream(self._vocabulary)
        before = time.perf_counter()
        for token_id in token_ids:
            stream.feed(token_id)
        stream.flush()
        return time.perf_counter() - before

    def second_turn(self, rounds: int, new_tokens: int) -> list[float]:
        """Seconds to the first token of a conversation's first and second turn."""
        self._count += 1
        turns = [{"role": "user", "content": self._text(rounds)}]
        first = self._ask(turns, {}, new_tokens, [])
        turns += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And then?"}]
        second = self._ask(turns, {}, new_tokens, [])
        return [first.timing.ttft_s, second.timing.ttft_s]

    def greedy(self, new_tokens: int) -> dict[str, Any]:
        """The sha256 of the ids of a fixed prompt's greedy reply, written in decimal with commas between."""
        options = SamplingOptions.greedy(max_new_tokens=new_tokens, speculation=False)
        ids = self._model.generate(SENTINEL_PROMPT, options=options, adapter="auto").token_ids
        return {"sha256": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(), "tokens": len(ids)}

    def fixed(self) -> list[dict[str, Any]]:
        """Logits of the fixed requests, one for each mode that the model answers in."""
        from edgephi_bench.engines.fixed_requests import fixed_logits  # noqa: PLC0415 - only the measuring needs it

        return fixed_logits(self._model, self._vocabulary)

    def _ask(self, messages: Any, media: dict[str, Any], new_tokens: int, stamps: list[float]) -> Reply:
        """The reply; the time at which each token was reported goes into `stamps`."""
        never_ends = dict.fromkeys(self._model.manifest.tokens.eos, -100.0)
        options = SamplingOptions.greedy(max_new_tokens=new_tokens, logit_bias=never_ends, speculation=False)
        for event in self._model.stream(messages, options=options, **media):
            if isinstance(event, TokenEvent):
                stamps.append(time.perf_counter())
            elif isinstance(event, DoneEvent):
                return event.reply
        raise AssertionError("a stream ends with a reply")

    @property
    def _vocabulary(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(self._bundle.file(TOKENIZER_NAME))
        return self._tokenizer

    def _media(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Noise, which costs what anything else costs."""
        random = np.random.default_rng(self._count)
        if "audio_s" in wanted:
            samples = random.normal(0.0, 0.1, round(wanted["audio_s"] * _HERTZ)).astype(np.float32)
            return {"audio": [(samples, _HERTZ)]}
        if "image" in wanted:
            width, height = wanted["image"]
            return {"images": [random.integers(0, 256, (height, width, 3), np.uint8)]}
        return {}

    def _text(self, rounds: int) -> str:
        """The first word differs from request to request."""
        return f"{self._count}{WORDS * rounds}"


def _stages(reply: Reply, stamps: list[float], end_to_end: float) -> dict[str, Any]:
    timing = reply.timing
    known = timing.preprocess_s + timing.encode_s + timing.prefill_s
    return {
        "preprocess": timing.preprocess_s,
        "encode": timing.encode_s,
        "prefill": timing.prefill_s,
        "first_token": max(timing.ttft_s - known, 0.0),
        "steps": np.diff(stamps).tolist(),
        "ttft": timing.ttft_s,
        "end_to_end": end_to_end,
        "prompt_tokens": timing.prompt_tokens,
        "token_ids": reply.token_ids,
    }
