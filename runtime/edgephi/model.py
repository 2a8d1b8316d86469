"""`Model`: a model folder that hears, sees and answers.

The requests themselves are here; what they share is in loaded_model.py, saved prefixes are in saved_prefixes.py,
transcripts in transcription/requests.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.features import AudioFeatures
from edgephi.base.cancellation import Stopped, never
from edgephi.base.errors import ConfigError
from edgephi.base.stage import OnStage, ignore_stage
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import CacheChoice
from edgephi.cache.kv_cache import cache_kind
from edgephi.decoder.decoder import DEFAULT_CACHE_BYTES, DEFAULT_CHUNK
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.outcome import reply_of
from edgephi.generation.reply import DoneEvent, Event, Reply
from edgephi.generation.sampler import SamplingOptions
from edgephi.generation.timing import StageTimer
from edgephi.model_options import DEFAULT_QUEUE, ModelLimits
from edgephi.ort.session import DeviceOptions
from edgephi.prefill import PrefillOptions, Terms
from edgephi.prompt.input_sequence import as_token_ids
from edgephi.prompt.media_placement import check_media_lists
from edgephi.prompt.message_tools import Tools
from edgephi.prompt.messages import Messages, MessageTrust
from edgephi.prompt.prompt import Prompt
from edgephi.prompt.routing import AdapterChoice
from edgephi.saved_prefixes import SavedPrefixes
from edgephi.tools.choice import ToolChoice, read_tool_use
from edgephi.tools.constraint import start_constraint
from edgephi.transcription.requests import TranscriptRequests


class Model(SavedPrefixes, TranscriptRequests):
    """A loaded model folder. Make one with `Model.load`; close it, or use it in a `with` block.

    Safe to share between threads: requests are served one at a time in the order they came, up to `max_queue` waiting.
    A stream takes its place in the queue when it is first iterated and gives its turn back when it ends, is closed or
    is forgotten. It may be iterated by any threads, one at a time. While a request waits for a stream that nobody
    iterates, its thread goes on with that stream, whose events are kept: a stream left open delays, and never blocks.

    What a request read stays for the next: a conversation's next turn reads only what is new in it, a system prompt or
    an image is read once. Answers are those of a fresh reading, up to rounding.
    """

    @classmethod
    def load(  # noqa: PLR0913 - every choice about a model, by name
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        max_context: int | None = None,
        chunk: int = DEFAULT_CHUNK,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        max_queue: int = DEFAULT_QUEUE,
        kv_cache: CacheChoice = "auto",
        with_adapters: bool = False,
        check_hashes: bool = False,
        ignore_memory: bool = False,
        on_stage: OnStage = ignore_stage,
    ) -> Self:
        """Open a model folder. Encoders and adapters are loaded when first needed.

        Args:
            path: The folder that `edgephi export` made.
            device: `cpu`.
            threads: Threads to use; None for the physical cores this process may use. Each session has a pool of its
                own unless the program called `edgephi.ort.session.share_threads()`.
            max_context: Positions a request may take; None for the model's own limit. Memory is taken as it fills.
            chunk: Most positions of a prompt read in one pass. More is faster, and takes more memory while it runs.
            cache_bytes: Most memory that stays taken between requests, so that the next one need not read again what
                it shares with earlier ones. 0 keeps nothing. A request that runs takes what it needs.
            max_queue: Requests that may wait for their turn.
            kv_cache: What keys and values are kept in: `float`, as the model computes, `int8`, a quarter of the memory
                and of the reading, or `auto`: int8 for a folder exported with it, else float.
            with_adapters: Load the adapters at once. Otherwise the first request with media loads the decoder again,
                with them; until then text does without their memory.
            check_hashes: Also compare every file's sha256 with the manifest.
            ignore_memory: Load and read what this machine does not seem to have the memory for.
            on_stage: Told when loading begins, is half done and has ended.

        Raises:
            ArtifactError: The folder or a file is missing, damaged or foreign.
            ConfigError: An option is out of range, or the folder has no graphs for `kv_cache`.
            CapacityError: This machine has not enough free memory for it. Encoders and adapters raise it when needed.
        """
        options = DeviceOptions(device=device, threads=threads, ignore_memory=ignore_memory)
        limits = ModelLimits(
            max_context=max_context, chunk=chunk, cache_bytes=cache_bytes, max_queue=max_queue, kv_cache=kv_cache
        )
        bundle = Bundle(path, check_hashes=check_hashes)
        cache_kind(bundle.manifest, kv_cache)  # before anything is loaded
        bundle.look_for_damage()
        return cls(bundle, options, limits, with_adapters=with_adapters, on_stage=on_stage)

    def generate(  # noqa: PLR0913 - every choice about a request, by name
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        tools: Tools | None = None,
        tool_choice: ToolChoice | None = None,
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
        tags: bool = True,
        paths: bool = True,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
    ) -> Reply:
        """Answer a conversation; arguments and errors are those of `stream`.

        Raises:
            EdgeError: The stream ended without a reply.
        """
        events = self.stream(
            messages,
            images=images,
            audio=audio,
            options=options,
            tools=tools,
            tool_choice=tool_choice,
            adapter=adapter,
            max_crops=max_crops,
            tags=tags,
            paths=paths,
            should_stop=should_stop,
            on_stage=on_stage,
        )
        return reply_of(events)

    def stream(  # noqa: PLR0913 - every choice about a request, by name
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        tools: Tools | None = None,
        tool_choice: ToolChoice | None = None,
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
        tags: bool = True,
        paths: bool = True,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
    ) -> Generator[Event, None, None]:
        """Answer a conversation, telling of every token; the work happens while the result is iterated.

        Args:
            messages: A string is one user turn; otherwise messages of the OpenAI chat shape. If the last is the
                assistant's, the reply goes on with it. `<|image_1|>` and `<|audio_1|>` in a user's string place the
                media, which else go before the last user turn; in a conversation, keep each in a message of its own.
            images: Paths, bytes of files, PIL images or uint8 arrays [H, W, 3].
            audio: Paths, bytes of files, `(samples [n] or [n, channels], hertz)`, or what `encode_ahead` gave for one.
            options: How tokens are chosen; what it leaves open, or None, is the checkpoint's own recommendation.
            tools: Functions that the model may call, as OpenAI's list or its JSON text; the same as under `tools` in a
                system message.
            tool_choice: None holds the reply to nothing. `auto`: a call that the model opens is held to the tools;
                `none`: no tool is offered, and no call possible; `required`, or an object that names a function: the
                reply is calls and nothing else. All but `none` need the extra `constrain`.
            adapter: `auto` follows the model's rule; another value forces an adapter, for experiments.
            max_crops: Most crops of each image, 1 to the model's own number (None); fewer are faster and show less.
            tags: False takes `<|image_1|>` in a user's string for letters: for messages that come from outside.
            paths: False refuses paths in messages and takes `data:` addresses only, likewise.
            should_stop: Asked between steps, and some 20 times a second during those that take long; True ends the
                reply as `cancelled` within about 0.2 s.
            on_stage: Told how far the work before the first token is, at each change (see Stage).

        Yields:
            TokenEvent, TextEvent, ToolCallEvent and at last one DoneEvent.

        Raises:
            ConfigError: Messages, media or options that cannot be used, or a mode that the folder lacks.
            CapacityError: The request is longer than the context, or too many wait.
            ArtifactError: An encoder's graph, or the decoder's with adapters, is damaged. Requests that do without it
                are still answered.
        """
        control = self._control(should_stop, on_stage)
        chosen = self._recommended(options)
        task = partial(GenerationTask, options=chosen, eos=frozenset(self._manifest.tokens.eos), control=control)
        handling = PrefillOptions(adapter=adapter, max_crops=max_crops, control=control)

        def steps() -> Generator[Event, None, None]:
            with self._decoding(control) as decoder:
                use = read_tool_use(messages, tools, tool_choice)
                constraint = start_constraint(self._constraints, self._tokenizer, use, chosen.constraint)
                terms = Terms(tools=use.tools, outside=MessageTrust(tags=tags, paths=paths))
                prompt = self._reader.prompt(use.messages, images, audio, control.timer, terms)
                sequence, route = self._reader.read(decoder, prompt, handling)
                request = task(sequence=sequence, adapter=route.adapter, constraint=constraint)
                with closing(generate(decoder, self._tokenizer, request)) as events:
                    for event in events:
                        if isinstance(event, DoneEvent):
                            self._check_folder()
                        yield event

        try:
            yield from self._queue.stream(steps(), control.should_stop, control.stages)
        except Stopped:
            yield DoneEvent(_cancelled(control.timer))

    def encode_ahead(
        self, *, audio: Sequence[Any], adapter: AdapterChoice = "auto", should_stop: Callable[[], bool] = never
    ) -> list[AudioFeatures]:
        """Encode clips that a later request will hear, at once: another request may be served meanwhile.

        The rows are kept with those of earlier requests, so all of one call must fit into the part of `cache_bytes`
        for media; a clip that does not is left to its request. A request for one that is being encoded waits for it.

        Args:
            audio: As in `stream`, of a request without images.
            adapter: As in `stream`.
            should_stop: Asked between an encoder's windows; True ends the work.

        Returns:
            The clips, to be given as the request's `audio`: they need not be read again.

        Raises:
            EdgeError: As in `stream`; a request with these clips would raise the same.
        """
        handling = PrefillOptions(adapter=adapter, control=self._control(should_stop))
        self._check_folder()
        clips = self._reader.encode_ahead(audio, handling)
        self._check_folder()
        return clips

    def logits(
        self,
        token_ids: Sequence[int] | NDArray[Any],
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        rows: Literal["last", "all"] = "last",
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
    ) -> NDArray[np.float32]:
        """Raw logits of a prompt, for proving an export against its source: always read from its first position.

        Args:
            token_ids: The prompt, with one image token per image and one audio token per clip. Not modified.
            images: As in `stream`, in the order of their tokens.
            audio: As in `stream`, in the order of their tokens.
            rows: `last` for the next token's logits only.
            adapter: As in `stream`.
            max_crops: As in `stream`.

        Returns:
            float32 [V], or [S, V] for `all`, S = positions after each media token became its rows.

        Raises:
            ConfigError: Ids outside the vocabulary; media and their tokens do not pair up; a mode the folder lacks.
            CapacityError: The prompt is longer than the context.
            ArtifactError: As in `stream`.
        """
        if rows not in ("last", "all"):
            raise ConfigError(f"rows is {rows!r}; use 'last' or 'all'")
        check_media_lists(images, audio)
        prompt = Prompt(as_token_ids(token_ids), tuple(images), tuple(audio))
        handling = PrefillOptions(adapter=adapter, max_crops=max_crops, fresh=True, control=self._control())
        with self._turn(handling.control) as decoder:
            sequence, route = self._reader.read(decoder, prompt, handling)
            logits = decoder.read(sequence, adapter=route.adapter, rows=rows)
            return logits.copy()  # the next request writes over it

    def _recommended(self, options: SamplingOptions | None = None) -> SamplingOptions:
        """The options of a request, with the advice of the model's makers where they say nothing."""
        return (options or SamplingOptions()).filled(self._manifest.generation)


def _cancelled(timer: StageTimer) -> Reply:
    return Reply(text="", token_ids=(), finish_reason="cancelled", tool_calls=(), timing=timer.timing(0, 0))
