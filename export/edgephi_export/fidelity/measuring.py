"""Runs examples through the reference and through the models that are judged by it.

One model is loaded at a time. Every example begins with empty caches, so that its result depends on nothing before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgephi import Model, PreparedRequest, SamplingOptions
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError
from edgephi.bundle.manifest import CacheChoice
from edgephi_export.calibration.examples import Example
from edgephi_export.calibration.sequences import SequenceBuilder, forced_after
from edgephi_export.fidelity.divergence import divergence
from edgephi_export.fidelity.outcomes import ModelOutcome, ReferenceOutcome, ReplyOutcome
from edgephi_export.fidelity.store import RunStore

#: Called before each example with its number, from 0.
OnExample = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a folder is run.

    Attributes:
        threads: See ModelOptions.
        kv_cache: See ModelOptions.
        max_new_tokens: Most tokens of a reply.
        chunk: See ModelOptions.
    """

    threads: int
    kv_cache: CacheChoice
    max_new_tokens: int
    chunk: int = 256


class LoadedSubject:
    """A folder that is loaded when the first example needs it.

    Args:
        path: The folder.
        settings: How it is run.
    """

    def __init__(self, path: Path, settings: RunSettings) -> None:
        self._path, self._settings = path, settings
        self._sequences = SequenceBuilder(path)
        self._model: Model | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._model is not None:
            self._model.close()

    def begin(self, example: Example) -> PreparedRequest:
        """Clear the caches, and read the example."""
        if self._model is None:
            # A graph for prefill serves every prompt where there is one: its weights are judged too.
            self._model = Model.load(
                self._path,
                threads=self._settings.threads,
                kv_cache=self._settings.kv_cache,
                chunk=self._settings.chunk,
                prefill_threshold=1,
            )
        self._model.clear_cache()
        return self._model.prepare(example.request)

    def reply(self, prepared: PreparedRequest) -> ReplyOutcome:
        """The greedy reply, without speculation: its rate is that of one token a pass."""
        options = SamplingOptions.greedy(max_new_tokens=self._settings.max_new_tokens, speculation=False)
        reply = self._loaded.generate(prepared, options=options)
        ids = self._sequences.without_end(reply.token_ids)
        return ReplyOutcome(
            token_ids=ids,
            text=self._sequences.spelled(ids),
            is_ended=reply.finish_reason == "stop",
            new_tokens=reply.timing.new_tokens,
            decode_s=reply.timing.decode_s,
        )

    def logits(self, prepared: PreparedRequest, answer_ids: Sequence[int]) -> NDArray[np.float32]:
        """float32 [A + 1, V]: see ForcedSequence.logits."""
        return forced_after(prepared.prompt, answer_ids).logits(self._loaded)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """The tokens of an answer."""
        return tuple(self._sequences.answer_ids(answer))

    @property
    def _loaded(self) -> Model:
        if self._model is None:
            raise AssertionError("begin comes first")
        return self._model


def run_reference(
    subject: LoadedSubject, examples: Sequence[Example], store: RunStore, on_example: OnExample
) -> dict[str, ReferenceOutcome]:
    """The reference's own replies by the examples' digests; its logits are kept in the store.

    Raises:
        EdgeError: It cannot be loaded, or an example cannot be served; the message names the example.
    """
    outcomes: dict[str, ReferenceOutcome] = {}
    for number, example in enumerate(examples):
        on_example(number)
        kept = store.load(example.digest, ReferenceOutcome)
        if kept is None or store.load_logits(example.digest) is None:
            with _named(example):
                kept = _refer(subject, example, store)
        outcomes[example.digest] = kept
    return outcomes


def _refer(subject: LoadedSubject, example: Example, store: RunStore) -> ReferenceOutcome:
    prepared = subject.begin(example)
    reply = subject.reply(prepared)
    answer_ids = reply.token_ids if example.answer is None else subject.answer_ids(example.answer)
    logits = subject.logits(prepared, answer_ids)
    if not np.isfinite(logits).all():
        raise ArtifactError("the reference gives a logit that is not finite; export it again")
    store.save_logits(example.digest, logits)
    audio_s = sum(one.duration_s for one in prepared.cost.audio)
    outcome = ReferenceOutcome(reply=reply, answer_ids=answer_ids, audio_s=audio_s)
    store.save(example.digest, outcome)
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a model is compared with: the reference's outcomes, and the store that has its logits."""

    outcomes: Mapping[str, ReferenceOutcome]
    store: RunStore

    def run(
        self, subject: LoadedSubject, examples: Sequence[Example], store: RunStore, on_example: OnExample, *, free: bool
    ) -> dict[str, ModelOutcome]:
        """Every example under a model, by its digest.

        Args:
            subject: The model.
            examples: Of which the reference has outcomes.
            store: Keeps the results.
            on_example: Reports the progress.
            free: Also let it reply freely.

        Raises:
            EdgeError: It cannot be loaded, or an example cannot be served; the message names the example.
        """
        outcomes: dict[str, ModelOutcome] = {}
        for number, example in enumerate(examples):
            on_example(number)
            kept = store.load(example.digest, ModelOutcome)
            if kept is None:
                with _named(example):
                    kept = self._judge(subject, example, free=free)
                store.save(example.digest, kept)
            outcomes[example.digest] = kept
        return outcomes

    def _judge(self, subject: LoadedSubject, example: Example, *, free: bool) -> ModelOutcome:
        answer_ids = self.outcomes[example.digest].answer_ids
        reference = self.store.load_logits(example.digest)
        if reference is None:
            raise ArtifactError("the reference's logits have gone from the folder of finished work; run it again")
        prepared = subject.begin(example)
        reply = subject.reply(prepared) if free else None
        try:
            forced = divergence(reference, subject.logits(prepared, answer_ids), answer_ids)
        except ValueError as error:
            raise ArtifactError(f"{error}; the model folder cannot be used") from None
        return ModelOutcome(reply=reply, forced=forced)


@contextmanager
def _named(example: Example) -> Iterator[None]:
    """An error inside the block begins with the example's name."""
    try:
        yield
    except CapacityError as error:
        raise CapacityError(f"{example.name}: {error}", reason=error.reason) from None
    except ConfigError as error:
        raise ConfigError(f"{example.name}: {error}") from None
    except ArtifactError as error:
        raise ArtifactError(f"{example.name}: {error}") from None
