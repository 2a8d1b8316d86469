"""`Model`: a model folder that hears, sees and answers.

Owns the way of one request through the parts, and that requests come one at a time. Knows nothing about how any part
works.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME, Bundle, reading
from edgephi.decoder import Decoder
from edgephi.embed import InputSequence, as_token_ids, check_ids
from edgephi.errors import ConfigError, EdgeError
from edgephi.generate import Clock, Job, generate
from edgephi.manifest import Manifest
from edgephi.messages import Messages
from edgephi.mode import AdapterChoice, Route, choose_route
from edgephi.prompt import Prompt, PromptBuilder, check_media_lists
from edgephi.reply import DoneEvent, Event, Reply
from edgephi.sampling import SamplingOptions
from edgephi.senses import Senses
from edgephi.session import DeviceOptions
from edgephi.stopping import Stopped, never
from edgephi.table import EmbeddingTable
from edgephi.tokenizer import Tokenizer


class Model:
    """A loaded model folder. Make one with `Model.load`; close it, or use it in a `with` block.

    Safe to share between threads: requests wait for each other. A thread that has a `stream` open must finish or close
    it before its next request.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: DeviceOptions,
        *,
        max_context: int | None = None,
        with_adapters: bool = False,
    ) -> None:
        manifest = bundle.manifest
        self._manifest = manifest
        self._tokenizer = Tokenizer.load(bundle.file(TOKENIZER_NAME))
        template = bundle.file(CHAT_TEMPLATE_NAME)
        self._prompts = PromptBuilder(self._tokenizer, _read_text(template), manifest.tokens, str(template))
        self._table = EmbeddingTable(bundle, manifest.decoder.embedding)
        self._senses = Senses(bundle, options)
        self._decoder: Decoder | None = Decoder(bundle, options, max_context=max_context, with_adapters=with_adapters)
        self._turn = _Turn()

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        max_context: int | None = None,
        with_adapters: bool = False,
        check_hashes: bool = False,
    ) -> Self:
        """Open a model folder. Encoders and adapters are loaded when first needed.

        Args:
            path: The folder that `edgephi export` made.
            device: `cpu`.
            threads: Threads to use; None for every core.
            max_context: Positions a request may take; None for the model's own limit. Memory is taken as it
                fills; what a request took beyond 4,096 positions is given back when the next one begins.
            with_adapters: Load the adapters at once. Otherwise the first request with media loads the decoder again,
                with them; until then text does without their memory.
            check_hashes: Also compare every file's sha256 with the manifest.

        Raises:
            ArtifactError: The folder or a file is missing, damaged or foreign.
            ConfigError: An option is out of range.
        """
        options = DeviceOptions(device=device, threads=threads)
        bundle = Bundle(path, check_hashes=check_hashes)
        return cls(bundle, options, max_context=max_context, with_adapters=with_adapters)

    @property
    def manifest(self) -> Manifest:
        """What the folder says about itself."""
        return self._manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the sessions and the cache. Later requests raise ConfigError."""
        self._decoder = None
        self._senses.close()

    def generate(
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        adapter: AdapterChoice = "auto",
        should_stop: Callable[[], bool] = never,
    ) -> Reply:
        """Answer a conversation; arguments and errors are those of `stream`."""
        events = self.stream(
            messages, images=images, audio=audio, options=options, adapter=adapter, should_stop=should_stop
        )
        for event in events:
            if isinstance(event, DoneEvent):
                return event.reply
        raise EdgeError("the generation ended without a reply")

    def stream(
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        adapter: AdapterChoice = "auto",
        should_stop: Callable[[], bool] = never,
    ) -> Generator[Event, None, None]:
        """Answer a conversation, telling of every token; the work happens while the result is iterated.

        Args:
            messages: A string is one user turn; otherwise messages of the OpenAI chat shape. `<|image_1|>` and
                `<|audio_1|>` in a user's text place the media; without any, media go before the last user turn.
            images: Paths, bytes of files, PIL images or uint8 arrays [H, W, 3].
            audio: Paths, bytes of files, or `(samples [n] or [n, channels], hertz)`.
            options: How tokens are chosen; None for the checkpoint's own recommendation, which is usually greedy.
            adapter: `auto` follows the model's rule; another value forces an adapter, for experiments.
            should_stop: Asked between steps; True ends the reply as `cancelled`.

        Yields:
            TokenEvent, TextEvent and at last one DoneEvent.

        Raises:
            ConfigError: Messages, media or options that cannot be used, or a mode that the folder lacks.
            CapacityError: The request is longer than the context.
            ArtifactError: An encoder's graph, or the decoder's with adapters, is damaged. Requests that do without it
                are still answered.
        """
        clock = Clock()
        chosen = options or self._recommended()
        with self._turn.taken():
            decoder = self._open_decoder()
            before = time.perf_counter()
            prompt = self._prompts.build(messages, images=images, audio=audio)
            clock.preprocess_s += time.perf_counter() - before
            try:
                sequence, route = self._read_prompt(prompt, adapter, clock, should_stop)
            except Stopped:
                yield DoneEvent(_cancelled(clock))
                return
            eos = frozenset(self._manifest.tokens.eos)
            job = Job(
                sequence=sequence, adapter=route.adapter, options=chosen, eos=eos, clock=clock, should_stop=should_stop
            )
            yield from generate(decoder, self._tokenizer, job)

    def logits(
        self,
        token_ids: Sequence[int] | NDArray[Any],
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        rows: Literal["last", "all"] = "last",
        adapter: AdapterChoice = "auto",
    ) -> NDArray[np.float32]:
        """Raw logits of a prompt, for proving an export against its source.

        Args:
            token_ids: The prompt, with one image token per picture and one audio token per clip. Not modified.
            images: As in `stream`, in the order of their tokens.
            audio: As in `stream`, in the order of their tokens.
            rows: `last` for the next token's logits only.
            adapter: As in `stream`.

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
        with self._turn.taken():
            decoder = self._open_decoder()
            sequence, route = self._read_prompt(prompt, adapter, Clock(), never)
            logits = decoder.read(sequence, adapter=route.adapter, rows=rows)
            return logits.copy() if rows == "last" else logits

    def _read_prompt(
        self, prompt: Prompt, adapter: AdapterChoice, clock: Clock, should_stop: Callable[[], bool]
    ) -> tuple[InputSequence, Route]:
        """The decoder's input, media encoded, and the decoder made ready for it. Raises Stopped."""
        route = choose_route(
            self._manifest, num_images=len(prompt.images), num_audio=len(prompt.audio), adapter=adapter
        )
        before = time.perf_counter()
        check_ids(prompt.token_ids, len(self._table))
        slots = media_slots(prompt, self._manifest)
        media = self._senses.prepare(prompt.images, prompt.audio)
        num_rows = sum(item.num_rows for item in media)
        decoder = self._open_decoder()
        decoder.check_length(len(prompt.token_ids) - len(media) + num_rows)
        clock.preprocess_s += time.perf_counter() - before

        decoder.reset()  # a long sequence's memory is free before a graph or an encoder wants more
        decoder.prepare(route.adapter)
        before = time.perf_counter()
        rows: dict[int, NDArray[np.float32]] = {}
        for position, item in zip(slots, media, strict=True):
            rows[position] = self._senses.encode(item, route.projection, should_stop)
        clock.encode_s = time.perf_counter() - before
        return InputSequence(self._table, prompt.token_ids, rows), route

    def _open_decoder(self) -> Decoder:
        if self._decoder is None:
            raise ConfigError("this model is closed; load it again")
        return self._decoder

    def _recommended(self) -> SamplingOptions:
        defaults = self._manifest.generation
        return SamplingOptions(temperature=defaults.temperature, top_k=defaults.top_k, top_p=defaults.top_p)


def media_slots(prompt: Prompt, manifest: Manifest) -> list[int]:
    """Positions in `prompt.token_ids` of the pictures' slots, then of the clips'.

    Raises:
        ConfigError: Their number is not that of the media. The message has both.
    """
    slots: list[int] = []
    kinds = (("image", manifest.tokens.image, prompt.images), ("audio", manifest.tokens.audio, prompt.audio))
    for kind, token_id, media in kinds:
        found = np.flatnonzero(prompt.token_ids == token_id).tolist() if token_id is not None else []
        if len(found) != len(media):
            raise ConfigError(
                f"the prompt has {len(found)} {kind} tokens but {len(media)} were given; they must pair up"
            )
        slots += found
    return slots


class _Turn:
    """Lets one request in at a time, and refuses a thread that would wait for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        if self._owner == threading.get_ident():
            raise ConfigError("a stream of this model is still open in this thread; finish or close it first")
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None


def _cancelled(clock: Clock) -> Reply:
    return Reply(text="", token_ids=(), finish_reason="cancelled", tool_calls=(), timing=clock.timing(0, 0))


def _read_text(path: Path) -> str:
    with reading(path):
        return path.read_text(encoding="utf-8")
