"""`Model`: a model folder that answers text, images and audio.

The requests themselves are here; what they share is in loaded_model.py, saved prefixes are in saved_prefixes.py,
transcripts in transcription/requests.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.features import AudioFeatures, AudioInput
from edgephi.base.cancellation import Stopped, never
from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole
from edgephi.base.stage import OnStage, ignore_stage
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi.generation.control import RequestControl
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.outcome import reply_of
from edgephi.generation.reply import DoneEvent, Event, Reply
from edgephi.generation.sampler import SamplingOptions
from edgephi.generation.timing import StageTimer, Timing
from edgephi.images.rates import ImageRateRecord
from edgephi.model_options import ModelFields, ModelOptions
from edgephi.prefill import PreparedPrompt
from edgephi.preparation import PreparedRequests
from edgephi.prepared_request import PreparedRequest
from edgephi.prompt.input_sequence import as_token_ids
from edgephi.prompt.messages import Messages
from edgephi.prompt.prompt import Prompt
from edgephi.prompt.routing import AdapterChoice
from edgephi.request import MediaFields, Request, RequestFields, as_request
from edgephi.saved_prefixes import SavedPrefixes
from edgephi.tools.constraint import start_constraint
from edgephi.transcription.requests import TranscriptRequests


class Model(PreparedRequests, SavedPrefixes, TranscriptRequests):
    """A loaded model folder. Make one with `Model.load`; close it, or use it in a `with` block.

    Safe to share between threads: requests are served one at a time in the order they came, up to `max_queue` waiting.
    A stream takes its place in the queue when it is first iterated and gives its turn back when it ends, is closed or
    is no longer referenced. It may be iterated by any threads, one at a time. While a request waits for a stream that
    nobody iterates, its thread goes on with that stream, whose events are kept: a stream left open delays, and never
    blocks.

    Keys, values and embeddings that a request computed stay cached for the next: a conversation's next turn computes
    only what is new in it, a system prompt or an image is computed once. Answers are those of an empty cache, up to
    rounding.
    """

    @classmethod
    def load(
        cls,
        path: str | Path,
        options: ModelOptions | None = None,
        *,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[ModelFields],
    ) -> Self:
        """Open a model folder. Encoders and adapters are loaded when first needed.

        Args:
            path: The folder that `edgephi export` made.
            options: How it is loaded; None for the defaults.
            on_stage: Called when loading begins, is half done and has ended.
            fields: Fields of `ModelOptions` by name, such as `threads=2`, which replace those of `options`.

        Raises:
            ArtifactError: The folder or a file is missing, damaged or foreign.
            ConfigError: An option is out of range, or the folder has no graphs for `kv_cache`.
            CapacityError: This machine has not enough free memory for it. Encoders and adapters raise it when needed.
            TypeError: A keyword that is no field of `ModelOptions`.
        """
        chosen = ModelOptions(**fields) if options is None else replace(options, **fields)
        bundle = Bundle(path, check_hashes=chosen.check_hashes)
        cache_kind(bundle.manifest, chosen.kv_cache)  # before anything is loaded
        bundle.look_for_damage()
        return cls(bundle, chosen, on_stage)

    def generate(
        self,
        request: Messages | Request | PreparedRequest,
        *,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[RequestFields],
    ) -> Reply:
        """Answer a conversation; arguments and errors are those of `stream`.

        Raises:
            EdgeError: The stream ended without a reply.
        """
        return reply_of(self.stream(request, options=options, should_stop=should_stop, on_stage=on_stage, **fields))

    def stream(
        self,
        request: Messages | Request | PreparedRequest,
        *,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[RequestFields],
    ) -> Generator[Event, None, None]:
        """Answer a conversation with an event for every token; the work happens while the result is iterated.

        Args:
            request: A string, messages of the OpenAI chat shape, a Request, or what `prepare` made of one.
            options: How tokens are chosen; what it leaves open, or None, is the checkpoint's own recommendation.
            should_stop: Called between steps, and some 20 times a second during those that take long; True ends the
                reply as `cancelled` within about 0.2 s.
            on_stage: Called at each change with how far each stage is (see Stage).
            fields: Fields of `Request` by name, such as `images=["sign.png"]`, which replace those of a Request.

        Returns:
            An iterator of TokenEvent, TextEvent, ToolCallEvent and at last one DoneEvent.

        Raises:
            ConfigError: Messages, media or options that cannot be used, or a mode that the folder lacks.
            CapacityError: The request is longer than the context, or too many wait.
            ArtifactError: An encoder's graph, or the decoder's with adapters, is damaged. Requests that do without it
                are still answered.
            TypeError: A keyword that is no field of `Request`.
        """
        began_s = time.perf_counter()
        wanted = self._servable(request, **fields)
        before_s = wanted.preprocess_s if isinstance(wanted, PreparedRequest) else 0.0
        control = partial(self._control, should_stop, on_stage, parse_s=before_s + time.perf_counter() - began_s)
        return self._stream(wanted, self._recommended(options), control)

    def _stream(
        self, request: Request | PreparedRequest, options: SamplingOptions, make_control: Callable[[], RequestControl]
    ) -> Generator[Event, None, None]:
        control = make_control()  # the time begins when the stream is first iterated
        use = (request.request if isinstance(request, PreparedRequest) else request).tool_use
        task = partial(GenerationTask, options=options, eos=frozenset(self._manifest.tokens.eos), control=control)

        def steps() -> Generator[Event, None, None]:
            with self._decoding(control) as decoder:
                constraint = start_constraint(self._constraints, self._tokenizer, use, options.constraint)
                ready = self._begin(decoder, self._prompt_of(request, control.timer), control)
                prepared = task(
                    sequence=ready.sequence,
                    adapter=ready.route.adapter,
                    constraint=constraint,
                    prediction=self._predicted_ids(request, options, control.timer),
                )
                with closing(generate(decoder, self._tokenizer, prepared)) as events:
                    for event in events:
                        if isinstance(event, DoneEvent):
                            self._check_folder()
                            _keep_prefill_rate(self._bundle, ready, event.reply.timing)
                        yield event

        try:
            yield from self._queue.stream(steps(), control.should_stop, control.stages)
        except Stopped:
            yield DoneEvent(_cancelled(control.timer))

    def encode_ahead(
        self, *, audio: Sequence[AudioInput], adapter: AdapterChoice = "auto", should_stop: Callable[[], bool] = never
    ) -> list[AudioFeatures]:
        """Encode audio that a later request will hold, at once: another request may be served meanwhile.

        The embeddings are cached with those of earlier requests, so all of one call must fit into the part of
        `cache_bytes` for media; one that does not is left to its request. A request for one that is being encoded
        waits for it.

        Args:
            audio: As in `Request`, of a request without images.
            adapter: As in `Request`.
            should_stop: Called between an encoder's windows; True ends the work.

        Returns:
            Features of each, to be given as the request's `audio`: they need not be computed again.

        Raises:
            EdgeError: As in `stream`; a request with this audio would raise the same.
        """
        self._check_folder()
        features = self._prefill.encode_ahead(audio, adapter, self._control(should_stop))
        self._check_folder()
        return features

    def logits(
        self,
        prompt: Sequence[int] | NDArray[Any] | Request,
        *,
        rows: int | Literal["last", "all"] = "last",
        **media: Unpack[MediaFields],
    ) -> NDArray[np.float32]:
        """Raw logits of a prompt, for proving an export against its source: always computed from its first position.

        Args:
            prompt: A Request, or token ids with one image token per image and one audio token per audio input. Not
                modified.
            rows: `last` for the next token's logits only, a number R for those of the last R positions.
            media: `images`, `audio`, `adapter`, `max_crops` and `detail` as in `Request`; with ids in the order of
                their tokens.

        Returns:
            float32 [V], [R, V], or [S, V] for `all`, S = positions after each media token became its rows.

        Raises:
            ConfigError: Ids outside the vocabulary; media and their tokens do not pair up; a mode the folder lacks;
                more rows than positions.
            CapacityError: The prompt is longer than the context.
            ArtifactError: As in `stream`.
            TypeError: Another keyword.
        """
        if not (rows in ("last", "all") or (isinstance(rows, int) and is_whole(rows) and rows >= 1)):
            raise ConfigError(f"rows is {rows!r}; use 'last', 'all' or a number of positions, 1 or more")
        control = self._control()
        if isinstance(prompt, Request):
            made = self._prefill.prompt(as_request(prompt, **media), control.timer)
        else:
            made = _prompt_of_ids(prompt, media)
        with self._turn(control) as decoder:
            ready = self._begin(decoder, made, control, fresh=True)
            if isinstance(rows, int) and rows > len(ready.sequence):
                raise ConfigError(f"rows is {rows:,}, and the prompt has {len(ready.sequence):,} positions; use fewer")
            logits = decoder.forward(ready.sequence, adapter=ready.route.adapter, rows=rows)
            return logits.copy()  # the next request writes over it

    def _recommended(self, options: SamplingOptions | None = None) -> SamplingOptions:
        """The options of a request, with the advice of the model's makers where they say nothing."""
        return (options or SamplingOptions()).filled(self._manifest.generation)


def _prompt_of_ids(token_ids: Sequence[int] | NDArray[Any], media: MediaFields) -> Prompt:
    fields = Request("", **media)
    return Prompt(as_token_ids(token_ids), tuple(fields.images), tuple(fields.audio), fields.adapter, fields.crop_limit)


def _keep_prefill_rate(bundle: Bundle, ready: PreparedPrompt, timing: Timing) -> None:
    if ready.route.has_images:
        computed = timing.prompt_tokens - timing.cached_tokens
        ImageRateRecord(bundle.manifest_sha256).add_prefill(computed, timing.prefill_s)


def _cancelled(timer: StageTimer) -> Reply:
    return Reply(text="", token_ids=(), finish_reason="cancelled", tool_calls=(), timing=timer.timing(0, 0))
