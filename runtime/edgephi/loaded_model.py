"""A loaded model folder and the queue of requests before it: what every kind of request shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from edgephi.base.cancellation import never
from edgephi.base.errors import ConfigError
from edgephi.base.log import logger
from edgephi.base.stage import OnStage, StageReporter, ignore_stage
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Manifest
from edgephi.decoder.decoder import Decoder
from edgephi.generation.constraint import ConstraintCompiler
from edgephi.generation.control import RequestControl
from edgephi.model_options import ModelLimits
from edgephi.ort.session import DeviceOptions
from edgephi.prefill import Prefill, PrefillOptions
from edgephi.prompt.messages import Messages
from edgephi.prompt.prompt_files import open_tokenizer
from edgephi.request_queue import RequestQueue

_log = logger(__name__)


class LoadedModel:
    """The parts of a loaded model folder, and whose turn at them it is. `Model` adds the requests."""

    def __init__(
        self,
        bundle: Bundle,
        options: DeviceOptions,
        limits: ModelLimits | None = None,
        *,
        with_adapters: bool = False,
        on_stage: OnStage = ignore_stage,
    ) -> None:
        manifest, limits, stages = bundle.manifest, limits or ModelLimits(), StageReporter(on_stage)
        self._bundle = bundle
        self._manifest = manifest
        # On the real model packing the weights takes 2.2 s of one core, reading the vocabulary 0.8 s of another.
        stages.report("load", 0, 2)
        with _beside() as (beside, is_left):
            opening = beside.submit(_open_decoder, bundle, options, limits, with_adapters, is_left)
            self._tokenizer = open_tokenizer(bundle)
            self._reader = Prefill(bundle, options, self._tokenizer, limits.media_bytes)
            self._constraints = ConstraintCompiler(
                self._tokenizer, eos=manifest.tokens.eos, vocab_size=self._reader.vocab_size
            )
            stages.report("load", 1, 2)
            self._decoder: Decoder | None = opening.result()
        stages.report("load", 2, 2)
        _log.info("loaded %s: takes %s, recipe %s", bundle.path, ", ".join(manifest.modalities), manifest.recipe.name)
        self._queue = RequestQueue(limits.max_queue)

    @property
    def manifest(self) -> Manifest:
        """What the folder says about itself."""
        return self._manifest

    def token_bytes(self, token_id: int) -> bytes:
        """What a token writes, which may be part of a character; nothing for a control token that replies leave out."""
        return self._tokenizer.token_bytes(token_id)

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
        self._bundle.close()

    def forget(self) -> None:
        """Forget what earlier requests read, and give its memory back. Waits for its turn."""
        with self._turn(self._control()) as decoder:
            decoder.clear()
            self._reader.forget()

    @contextmanager
    def _whole(
        self, messages: Messages, images: Sequence[Any], audio: Sequence[Any], handling: PrefillOptions
    ) -> Iterator[Decoder]:
        """The decoder after every position of a conversation was read, until its turn ends."""
        control = handling.control
        with self._turn(control) as decoder:
            prompt = self._reader.prompt(messages, images, audio, control.timer)
            sequence, route = self._reader.read(decoder, prompt, handling)
            if decoder.used < len(sequence):
                decoder.read(sequence, adapter=route.adapter, should_stop=control.should_stop)
            yield decoder

    @contextmanager
    def _turn(self, control: RequestControl) -> Iterator[Decoder]:
        """This request's turn at the decoder. What it read is kept when it ends, however it ends."""
        with self._queue.enter(control.should_stop, control.stages), self._decoding(control) as decoder:
            yield decoder

    @contextmanager
    def _decoding(self, control: RequestControl) -> Iterator[Decoder]:
        """The decoder, for the request whose turn it is."""
        control.timer.end_queue()
        decoder = self._open_decoder()
        self._bundle.check_unchanged()
        try:
            yield decoder
            self._check_folder()
        finally:
            decoder.end()

    def _check_folder(self) -> None:
        """What is read comes from the folder that was loaded, or raise ArtifactError."""
        if self._decoder is not None:  # closed meanwhile: there are no files to look at, and what ran was served
            self._bundle.check_unchanged()

    def _control(self, should_stop: Callable[[], bool] = never, on_stage: OnStage = ignore_stage) -> RequestControl:
        """The control of a new request, whose `should_stop` also raises ConfigError once the model is closed."""

        def asked() -> bool:
            self._open_decoder()
            return should_stop()

        return RequestControl(should_stop=asked, stages=StageReporter(on_stage))

    def _open_decoder(self) -> Decoder:
        if self._decoder is None:
            raise ConfigError("this model is closed; load it again")
        return self._decoder


@contextmanager
def _beside() -> Iterator[tuple[ThreadPoolExecutor, Callable[[], bool]]]:
    """A thread beside this one, and what tells it that the block was left by an error, such as Ctrl-C."""
    left = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        try:
            yield beside, left.is_set
        except BaseException:
            left.set()
            raise


def _open_decoder(
    bundle: Bundle, options: DeviceOptions, limits: ModelLimits, with_adapters: bool, should_stop: Callable[[], bool]
) -> Decoder:
    return Decoder(
        bundle,
        options,
        max_context=limits.max_context,
        with_adapters=with_adapters,
        chunk=limits.chunk,
        cache_bytes=limits.cache_bytes - limits.media_bytes,
        kv_cache=limits.kv_cache,
        should_stop=should_stop,
    )
