"""edgephi's `Model` on request: whole requests, stage by stage.

Every request differs from the ones before it in its first word and in its media, so that nothing of it is kept from an
earlier one. What only the measuring needs is loaded when it is asked for, so that it is not in the memory of a request.
"""

from __future__ import annotations

import codecs
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgephi import (
    DoneEvent,
    Event,
    Model,
    ModelOptions,
    Reply,
    SamplingOptions,
    Stage,
    TokenEvent,
    __version__,
)
from edgephi.bundle.bundle import Bundle
from edgephi.ort.session import runtime

WORDS = " when the rain had stopped we walked along the river and talked about boats that had gone out in the morning"
_QUESTION = "Describe this."
_HERTZ = 16_000
#: Asked greedily of every model; what comes out depends on nothing but the model and the arithmetic.
SENTINEL_PROMPT = "Name the seven days of the week, then count from one to ten."


def prepare() -> None:
    """Import what a program that runs models has imported before it loads one."""
    runtime()


def open_engine(options: dict[str, Any]) -> RequestEngine:
    """Load the model folder `model` for `threads` threads and the kind of `kv_cache`.

    `cache_bytes`, `memory_bytes` and `device` may be given.
    """
    names = ("threads", "kv_cache", "cache_bytes", "memory_bytes", "device")
    given: Any = {name: options[name] for name in names if name in options}
    return RequestEngine(options["model"], ModelOptions(prefill="stored", **given))


@dataclass(slots=True)
class _Answer:
    """One request while it is served.

    Attributes:
        began_s: When it was sent, by `time.perf_counter()`, as the others.
        token_s: When each token was reported.
        ended_s: When the reply was complete.
        encoder_steps: Crops of its images, or windows of its audio, that were encoded.
        done: The reply.
    """

    began_s: float = field(default_factory=time.perf_counter)
    token_s: list[float] = field(default_factory=list)
    ended_s: float = 0.0
    encoder_steps: int = 0
    done: Reply | None = None

    def observe(self, stage: Stage) -> None:
        """Note how much there is to encode."""
        if stage.name == "encode":
            self.encoder_steps = stage.total

    def take(self, event: Event) -> None:
        """Note when an event came."""
        if isinstance(event, TokenEvent):
            self.token_s.append(time.perf_counter())
        elif isinstance(event, DoneEvent):
            self.ended_s, self.done = time.perf_counter(), event.reply

    @property
    def reply(self) -> Reply:
        """The whole reply."""
        assert self.done is not None  # a stream ends with it
        return self.done

    def stages(self) -> dict[str, Any]:
        """Seconds of every stage, and what else figures are made of."""
        timing = self.reply.timing
        known = timing.queue_s + timing.load_s + timing.preprocess_s + timing.encode_s + timing.prefill_s
        return {
            "preprocess": timing.preprocess_s,
            "encode": timing.encode_s,
            "prefill": timing.prefill_s,
            "first_token": max(timing.ttft_s - known, 0.0),
            "steps": np.diff(self.token_s).tolist(),
            "ttft": timing.ttft_s,
            "end_to_end": self.ended_s - self.began_s,
            "prompt_tokens": timing.prompt_tokens,
            "encoder_steps": self.encoder_steps,
            "token_ids": self.reply.token_ids,
        }


class RequestEngine:
    """One model and a count of its requests."""

    def __init__(self, model: str, options: ModelOptions) -> None:
        self.version = __version__
        self._model = Model.load(model, options)
        self._bundle = Bundle(model)
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
        return self._ask(self._question if given else self._text(rounds), given, new_tokens).stages()

    def own_request(self, own: dict[str, Any], new_tokens: int) -> dict[str, Any]:
        """Seconds of every stage of a user's own request: `prompt`, `images` and `audio` as paths.

        A short request before it leaves nothing of it in the cache: the stages of the last run must not be free.
        """
        self._count += 1
        self._ask(self._question, {}, 1)
        return self._ask(own["prompt"], {"images": own["images"], "audio": own["audio"]}, new_tokens).stages()

    def media_tokens(self, media: dict[str, Any]) -> int:
        """Positions that the media of such a request take."""
        cost = self._model.prepare(self._question, **self._media(media)).cost
        return cost.image_tokens + cost.audio_tokens

    def detokenize(self, token_ids: list[int]) -> float:
        """Seconds for the text of these ids, one at a time as while streaming."""
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        before = time.perf_counter()
        for token_id in token_ids:
            characters.decode(self._model.token_bytes(token_id))
        characters.decode(b"", final=True)
        return time.perf_counter() - before

    def second_turn(self, rounds: int, new_tokens: int) -> list[float]:
        """Seconds to the first token of a conversation's first and second turn."""
        self._count += 1
        turns = [{"role": "user", "content": self._text(rounds)}]
        first = self._ask(turns, {}, new_tokens).reply
        turns += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And then?"}]
        second = self._ask(turns, {}, new_tokens).reply
        return [first.timing.ttft_s, second.timing.ttft_s]

    def greedy(self, new_tokens: int) -> dict[str, Any]:
        """The sha256 of the ids of a fixed prompt's greedy reply, written in decimal with commas between."""
        options = SamplingOptions.greedy(max_new_tokens=new_tokens, speculation=False)
        ids = self._model.generate(SENTINEL_PROMPT, options=options, adapter="auto").token_ids
        return {"sha256": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(), "tokens": len(ids)}

    def fixed(self) -> list[dict[str, Any]]:
        """Logits of the fixed requests, one for each mode that the model answers in."""
        from edgephi_bench.engines.fixed_requests import fixed_logits  # noqa: PLC0415 - only the measuring needs it

        return fixed_logits(self._model, self._bundle)

    def _ask(self, messages: Any, media: dict[str, Any], new_tokens: int) -> _Answer:
        """The reply, and when each part of it came."""
        never_ends = dict.fromkeys(self._model.manifest.tokens.eos, -100.0)
        options = SamplingOptions.greedy(max_new_tokens=new_tokens, logit_bias=never_ends, speculation=False)
        answer = _Answer()
        for event in self._model.stream(messages, options=options, on_stage=answer.observe, **media):
            answer.take(event)
        return answer

    @property
    def _question(self) -> str:
        """The words beside media."""
        return f"{self._count} {_QUESTION}"

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
