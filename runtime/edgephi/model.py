"""`Model`: a model folder that hears, sees and answers.

Owns the way of one request through the parts. Knows nothing about how any part works.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle import TOKENIZER_NAME, Bundle
from edgephi.constraint import ConstraintCompiler
from edgephi.decoder import DEFAULT_CACHE_BYTES, DEFAULT_CHUNK, Decoder
from edgephi.embed import as_token_ids
from edgephi.errors import ConfigError, EdgeError
from edgephi.generate import Clock, Job, generate
from edgephi.kv_cache import KVCache, check_cache_kind
from edgephi.limits import DEFAULT_QUEUE, ModelLimits
from edgephi.manifest import CacheKind, Manifest
from edgephi.messages import Messages
from edgephi.mode import AdapterChoice
from edgephi.prefix_file import read_prefix, write_prefix
from edgephi.prompt import Prompt, check_media_lists
from edgephi.queueing import Turns
from edgephi.reply import DoneEvent, Event, Reply
from edgephi.request_reader import Handling, RequestReader
from edgephi.sampling import SamplingOptions
from edgephi.senses import HeardClip
from edgephi.session import DeviceOptions
from edgephi.stopping import Stopped, never
from edgephi.tokenizer import Tokenizer


class Model:
    """A loaded model folder. Make one with `Model.load`; close it, or use it in a `with` block.

    Safe to share between threads: requests are served one at a time in the order they came, up to `max_queue` waiting.
    A stream takes its place in the queue when it is first iterated and gives its turn back when it ends, is closed or
    is forgotten. A thread that has a `stream` open must finish or close it before its next request.

    What a request read stays for the next: a conversation's next turn reads only what is new in it, a system prompt or
    a picture is read once. Answers are those of a fresh reading, up to rounding.
    """

    def __init__(
        self, bundle: Bundle, options: DeviceOptions, limits: ModelLimits | None = None, *, with_adapters: bool = False
    ) -> None:
        manifest, limits = bundle.manifest, limits or ModelLimits()
        self._bundle = bundle
        self._manifest = manifest
        # On the real model packing the weights takes 2.2 s of one core, reading the vocabulary 0.8 s of another.
        with ThreadPoolExecutor(1) as beside:
            opening = beside.submit(_open_decoder, bundle, options, limits, with_adapters=with_adapters)
            self._tokenizer = Tokenizer.load(bundle.file(TOKENIZER_NAME))
            self._reader = RequestReader(bundle, options, self._tokenizer, limits.media_bytes)
            self._constraints = ConstraintCompiler(
                self._tokenizer, eos=manifest.tokens.eos, vocab_size=self._reader.vocab_size
            )
            self._decoder: Decoder | None = opening.result()
        self._turns = Turns(limits.max_queue)

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
        kv_cache: CacheKind = "float",
        with_adapters: bool = False,
        check_hashes: bool = False,
    ) -> Self:
        """Open a model folder. Encoders and adapters are loaded when first needed.

        Args:
            path: The folder that `edgephi export` made.
            device: `cpu`.
            threads: Threads to use; None for the physical cores this process may use. Each session has a pool of its
                own unless the program called `edgephi.session.share_threads()`.
            max_context: Positions a request may take; None for the model's own limit. Memory is taken as it fills.
            chunk: Most positions of a prompt read in one pass. More is faster, and takes more memory while it runs.
            cache_bytes: Most memory that stays taken between requests, so that the next one need not read again what
                it shares with earlier ones. 0 keeps nothing. A request that runs takes what it needs.
            max_queue: Requests that may wait for their turn.
            kv_cache: What keys and values are kept in: `float`, as the model computes, or `int8`, a quarter of the
                memory and of the reading, for a folder exported with them.
            with_adapters: Load the adapters at once. Otherwise the first request with media loads the decoder again,
                with them; until then text does without their memory.
            check_hashes: Also compare every file's sha256 with the manifest.

        Raises:
            ArtifactError: The folder or a file is missing, damaged or foreign.
            ConfigError: An option is out of range, or the folder has no graphs for `kv_cache`.
        """
        options = DeviceOptions(device=device, threads=threads)
        limits = ModelLimits(
            max_context=max_context, chunk=chunk, cache_bytes=cache_bytes, max_queue=max_queue, kv_cache=kv_cache
        )
        bundle = Bundle(path, check_hashes=check_hashes)
        check_cache_kind(bundle.manifest, kv_cache)  # before anything is loaded
        return cls(bundle, options, limits, with_adapters=with_adapters)

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
        """Free the sessions and the cache. Later requests raise ConfigError.

        So do requests that wait, and one that runs, before its next step; what it uses is freed when it has ended.
        """
        self._decoder = None
        self._reader.close()

    def generate(  # noqa: PLR0913 - every choice about a request, by name
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> Reply:
        """Answer a conversation; arguments and errors are those of `stream`."""
        events = self.stream(
            messages,
            images=images,
            audio=audio,
            options=options,
            adapter=adapter,
            max_crops=max_crops,
            should_stop=should_stop,
        )
        for event in events:
            if isinstance(event, DoneEvent):
                return event.reply
        raise EdgeError("the generation ended without a reply")

    def stream(  # noqa: PLR0913 - every choice about a request, by name
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        options: SamplingOptions | None = None,
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> Generator[Event, None, None]:
        """Answer a conversation, telling of every token; the work happens while the result is iterated.

        Args:
            messages: A string is one user turn; otherwise messages of the OpenAI chat shape. `<|image_1|>` and
                `<|audio_1|>` in a user's text place the media; without any, media go before the last user turn. In a
                conversation, keep each in its own turn, as a part of that message: what was read of it then serves.
            images: Paths, bytes of files, PIL images or uint8 arrays [H, W, 3].
            audio: Paths, bytes of files, `(samples [n] or [n, channels], hertz)`, or what `encode_ahead` gave for one.
            options: How tokens are chosen; None for the checkpoint's own recommendation, which is usually greedy.
            adapter: `auto` follows the model's rule; another value forces an adapter, for experiments.
            max_crops: Most crops of each picture, 1 to the model's own number; None for that. Fewer are read sooner
                and show less detail.
            should_stop: Asked between steps; True ends the reply as `cancelled`.

        Yields:
            TokenEvent, TextEvent and at last one DoneEvent.

        Raises:
            ConfigError: Messages, media or options that cannot be used, or a mode that the folder lacks.
            CapacityError: The request is longer than the context, or too many wait.
            ArtifactError: An encoder's graph, or the decoder's with adapters, is damaged. Requests that do without it
                are still answered.
        """
        clock, stop = Clock(), self._until_closed(should_stop)
        chosen = options or self._recommended()
        job = partial(Job, options=chosen, eos=frozenset(self._manifest.tokens.eos), clock=clock)
        handling = Handling(adapter=adapter, max_crops=max_crops, should_stop=stop, clock=clock)
        try:
            with self._turn(stop) as decoder:
                constraint = None if chosen.constraint is None else self._constraints.start(chosen.constraint)
                prompt = self._reader.prompt(messages, images, audio, clock)
                sequence, route = self._reader.read(decoder, prompt, handling)
                request = job(sequence=sequence, adapter=route.adapter, should_stop=stop, constraint=constraint)
                yield from generate(decoder, self._tokenizer, request)
        except Stopped:
            yield DoneEvent(_cancelled(clock))

    def encode_ahead(
        self, *, audio: Sequence[Any], adapter: AdapterChoice = "auto", should_stop: Callable[[], bool] = never
    ) -> list[HeardClip]:
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
        handling = Handling(adapter=adapter, should_stop=self._until_closed(should_stop))
        return self._reader.encode_ahead(audio, handling)

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
            token_ids: The prompt, with one image token per picture and one audio token per clip. Not modified.
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
        handling = Handling(adapter=adapter, max_crops=max_crops, fresh=True)
        with self._turn(self._until_closed(never)) as decoder:
            sequence, route = self._reader.read(decoder, prompt, handling)
            logits = decoder.read(sequence, adapter=route.adapter, rows=rows)
            return logits.copy()  # the next request writes over it

    def save_prefix(
        self,
        messages: Messages,
        path: str | Path,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
    ) -> int:
        """Read a conversation without answering it, and save what was read for `load_prefix`.

        The file has the size of the keys and values: 256 KiB per position of the real model, 64 in int8.

        Args:
            messages: As in `stream`.
            path: The file. An older one is replaced.
            images: As in `stream`.
            audio: As in `stream`.
            adapter: As in `stream`.
            max_crops: As in `stream`.

        Returns:
            Positions saved.

        Raises:
            ConfigError: As in `stream`, or the file cannot be written.
            CapacityError: As in `stream`.
            ArtifactError: As in `stream`.
        """
        handling = Handling(adapter=adapter, max_crops=max_crops, should_stop=self._until_closed(never))
        with self._whole(messages, images, audio, handling) as decoder:
            write_prefix(Path(path), self._bundle, decoder.present())
            return decoder.used

    def visit_cache(
        self,
        messages: Messages,
        visit: Callable[[KVCache], None],
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
    ) -> None:
        """Read a conversation without answering it, and show `visit` its keys and values, which it may not change.

        Other arguments and errors are those of `stream`.
        """
        handling = Handling(adapter=adapter, should_stop=self._until_closed(never))
        with self._whole(messages, images, audio, handling) as decoder:
            visit(decoder.present().cache)

    def load_prefix(self, path: str | Path) -> int:
        """Take in what `save_prefix` wrote; later requests that begin with it need not read it again.

        Returns:
            Positions loaded.

        Raises:
            ArtifactError: The file is missing, damaged, or was made with another model folder or the other `kv_cache`.
            CapacityError: It is longer than the context, or larger than `cache_bytes` allows. What was kept stays.
        """
        with self._turn(self._until_closed(never)) as decoder:
            decoder.adopt(read_prefix(Path(path), self._bundle, decoder.shape))
            return decoder.used

    def cache_prompt(
        self,
        messages: Messages,
        path: str | Path,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
    ) -> int:
        """`load_prefix` if the file exists, otherwise `save_prefix`: what `edgephi run --cache-prompt` does first.

        Returns:
            Positions loaded or saved.

        Raises:
            EdgeError: As these two.
        """
        if Path(path).exists():
            return self.load_prefix(path)
        return self.save_prefix(messages, path, images=images, audio=audio, adapter=adapter, max_crops=max_crops)

    def forget(self) -> None:
        """Forget what earlier requests read, and give its memory back. Waits for its turn."""
        with self._turn(self._until_closed(never)) as decoder:
            decoder.clear()
            self._reader.forget()

    @contextmanager
    def _whole(
        self, messages: Messages, images: Sequence[Any], audio: Sequence[Any], handling: Handling
    ) -> Iterator[Decoder]:
        """The decoder after every position of a conversation was read, until its turn ends."""
        with self._turn(handling.should_stop) as decoder:
            prompt = self._reader.prompt(messages, images, audio, handling.clock)
            sequence, route = self._reader.read(decoder, prompt, handling)
            if decoder.used < len(sequence):
                decoder.read(sequence, adapter=route.adapter, should_stop=handling.should_stop)
            yield decoder

    @contextmanager
    def _turn(self, should_stop: Callable[[], bool]) -> Iterator[Decoder]:
        """This request's turn at the decoder. What it read is kept when it ends, however it ends."""
        with self._turns.taken(should_stop):
            decoder = self._open_decoder()
            try:
                yield decoder
            finally:
                decoder.end()

    def _until_closed(self, should_stop: Callable[[], bool]) -> Callable[[], bool]:
        """`should_stop` that also raises ConfigError once the model is closed."""

        def asked() -> bool:
            self._open_decoder()
            return should_stop()

        return asked

    def _open_decoder(self) -> Decoder:
        if self._decoder is None:
            raise ConfigError("this model is closed; load it again")
        return self._decoder

    def _recommended(self) -> SamplingOptions:
        defaults = self._manifest.generation
        return SamplingOptions(temperature=defaults.temperature, top_k=defaults.top_k, top_p=defaults.top_p)


def _open_decoder(bundle: Bundle, options: DeviceOptions, limits: ModelLimits, *, with_adapters: bool) -> Decoder:
    return Decoder(
        bundle,
        options,
        max_context=limits.max_context,
        with_adapters=with_adapters,
        chunk=limits.chunk,
        cache_bytes=limits.cache_bytes - limits.media_bytes,
        kv_cache=limits.kv_cache,
    )


def _cancelled(clock: Clock) -> Reply:
    return Reply(text="", token_ids=(), finish_reason="cancelled", tool_calls=(), timing=clock.timing(0, 0))
