"""A loaded model folder and the queue of requests before it: what every kind of request shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from edgephi.base.cancellation import never
from edgephi.base.errors import ConfigError
from edgephi.base.log import logger
from edgephi.base.stage import OnStage, StageReporter, ignore_stage
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter, Manifest
from edgephi.decoder.decoder import Decoder
from edgephi.generation.constraint import ConstraintCompiler
from edgephi.generation.control import RequestControl
from edgephi.generation.timing import StageTimer
from edgephi.model_options import ModelOptions
from edgephi.ort.devices import choose_device
from edgephi.prefill import Prefill, PreparedPrompt
from edgephi.prompt.prompt import Prompt
from edgephi.prompt.prompt_files import open_prompts
from edgephi.request import Request
from edgephi.request_queue import RequestQueue

_log = logger(__name__)


class LoadedModel:
    """The parts of a loaded model folder, and whose turn at them it is. `Model` adds the requests."""

    def __init__(self, bundle: Bundle, options: ModelOptions, on_stage: OnStage = ignore_stage) -> None:
        manifest, stages = bundle.manifest, StageReporter(on_stage)
        self._device = choose_device(bundle, options.device)
        options = replace(options, device=self._device)
        self._bundle = bundle
        self._manifest = manifest
        # On the real model packing the weights takes 2.2 s of one core, reading the vocabulary 0.8 s of another.
        stages.report("load", 0, 2)
        with _beside() as (beside, is_left):
            opening = beside.submit(Decoder, bundle, options, is_left)
            prompts = open_prompts(bundle)
            self._tokenizer = prompts.tokenizer
            self._prefill = Prefill(bundle, options, prompts)
            self._constraints = ConstraintCompiler(
                self._tokenizer, eos=manifest.tokens.eos, vocab_size=self._prefill.vocab_size
            )
            stages.report("load", 1, 2)
            self._decoder: Decoder | None = opening.result()
        stages.report("load", 2, 2)
        _log.info("loaded %s: takes %s, recipe %s", bundle.path, ", ".join(manifest.modalities), manifest.recipe.name)
        self._queue = RequestQueue(options.max_queue)

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
        self._prefill.close()
        self._bundle.close()

    def clear_cache(self) -> None:
        """Clear what earlier requests left in the caches, and give its memory back. Waits for its turn."""
        with self._turn(self._control()) as decoder:
            decoder.clear()
            self._prefill.embeddings.clear()

    @contextmanager
    def _computed(self, request: Request) -> Iterator[Decoder]:
        """The decoder with every position of a request in its cache, until its turn ends."""
        control = self._control()
        with self._turn(control) as decoder:
            ready = self._begin(decoder, self._prefill.prompt(request, control.timer), control)
            if decoder.num_cached < len(ready.sequence):
                decoder.forward(ready.sequence, adapter=ready.route.adapter, should_stop=control.should_stop)
            yield decoder

    def _begin(
        self, decoder: Decoder, prompt: Prompt, control: RequestControl, *, fresh: bool = False
    ) -> PreparedPrompt:
        """Prepare a prompt, and the decoder for it: all that comes before its first pass.

        Args:
            decoder: Open.
            prompt: Of the request whose turn it is.
            control: Of that request.
            fresh: Use nothing that earlier requests left in the prefix cache.
        """
        ready = self._prefill.prepare(prompt, decoder.limit, control)
        adapter = ready.route.adapter
        cached = control.timer.cached_tokens = decoder.sequences.begin(ready.sequence, adapter, fresh=fresh)
        _load(decoder, adapter, control)
        with control.timer.measure("encode"):
            ready.encode(cached)
        facts = (len(ready.sequence), cached, len(prompt.images), len(prompt.audio), adapter)
        _log.info("request of %d tokens, %d cached, %d images, %d audio, adapter %s", *facts)
        return ready

    @contextmanager
    def _turn(self, control: RequestControl) -> Iterator[Decoder]:
        """This request's turn at the decoder. What it computed stays cached when it ends, however it ends."""
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
            decoder.sequences.trim()
            decoder.rest()

    def _check_folder(self) -> None:
        """The folder is the one that was loaded, or raise ArtifactError."""
        if self._decoder is not None:  # closed meanwhile: there are no files to look at, and what ran was served
            self._bundle.check_unchanged()

    def _control(
        self, should_stop: Callable[[], bool] = never, on_stage: OnStage = ignore_stage, *, parse_s: float = 0.0
    ) -> RequestControl:
        """The control of a new request, whose `should_stop` also raises ConfigError once the model is closed."""

        def asked() -> bool:
            self._open_decoder()
            return should_stop()

        return RequestControl(
            should_stop=asked, timer=StageTimer(parse_s=parse_s, device=self._device), stages=StageReporter(on_stage)
        )

    def _open_decoder(self) -> Decoder:
        if self._decoder is None:
            raise ConfigError("this model is closed; load it again")
        return self._decoder


@contextmanager
def _beside() -> Iterator[tuple[ThreadPoolExecutor, Callable[[], bool]]]:
    """A thread beside this one, and whether the block was left by an error, such as Ctrl-C."""
    left = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        try:
            yield beside, left.is_set
        except BaseException:
            left.set()
            raise


def _load(decoder: Decoder, adapter: Adapter, control: RequestControl) -> None:
    """The decoder's graph for an adapter, which is a stage of its own where it must be loaded."""
    if decoder.serves(adapter):
        decoder.load(adapter, control.should_stop)
        return
    control.stages.report("load", 0, 1)
    with control.timer.measure("load"):
        decoder.load(adapter, control.should_stop)
    control.stages.report("load", 1, 1)
