"""Compares model folders with their reference: the order of the steps, from folders to a report."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from edgephi.base.atomic_write import check_space, writing
from edgephi.base.errors import ConfigError
from edgephi.base.hardware import cpu_name, num_physical_cores
from edgephi.base.step import OnStep, Step
from edgephi.base.version import package_version
from edgephi.bundle.bundle import Bundle
from edgephi_export.calibration.examples import Example
from edgephi_export.fidelity.figures import JudgedExample, NoiseRun, mode_figures, task_figures
from edgephi_export.fidelity.measuring import Comparison, LoadedSubject, RunSettings, run_reference
from edgephi_export.fidelity.noise import NoiseTask, measure_noise, noise_digests, other_threads
from edgephi_export.fidelity.options import FidelityOptions, chosen_examples
from edgephi_export.fidelity.outcomes import ModelOutcome
from edgephi_export.fidelity.parts import PartsRun
from edgephi_export.fidelity.report import SCHEMA_VERSION, ExampleSource, FidelityReport, ModelFidelity, PartFigures
from edgephi_export.fidelity.store import RunStore, run_name
from edgephi_export.fidelity.subject import FolderFacts, check_same_model, folder_facts


def compare_fidelity(options: FidelityOptions, on_step: OnStep) -> FidelityReport:
    """Run every example through the reference and every model, and sum up.

    Raises:
        ArtifactError: A folder is missing, damaged or foreign.
        ConfigError: Folders of different models, examples that cannot be used or that no folder serves, or a
            requirement on what is not measured.
        CapacityError: This machine has not enough memory or disk, or an example is longer than the context.
    """
    check_same_model(options.reference, options.models)
    reference = folder_facts(options.reference, "float")
    facts = [folder_facts(path, options.kv_cache) for path in options.models]
    every = chosen_examples(options.examples, options.limit, options.reference)
    served = set(reference.modes).intersection(*(one.modes for one in facts))
    examples = tuple(one for one in every if one.mode in served)
    if not examples:
        raise ConfigError(f"no example has a mode that all folders serve: {', '.join(sorted(served)) or 'none'}")
    for requirement in options.requirements:
        requirement.check_scope({one.mode for one in examples}, {one.group for one in examples if one.measure})
    with _work_dir(options) as work_dir:
        run = _Run(options, examples, work_dir, on_step)
        run.check_space()
        return FidelityReport(
            schema_version=SCHEMA_VERSION,
            edgephi_version=package_version(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            cpu=cpu_name(),
            threads=run.settings.threads,
            max_new_tokens=options.max_new_tokens,
            command=options.command,
            reference=reference,
            examples=ExampleSource(
                path=None if options.examples is None else str(options.examples),
                sha256=_sha256(examples),
                examples=len(examples),
                left_out=len(every) - len(examples),
            ),
            models=tuple(run.models(reference, facts)),
        )


def _sha256(examples: Sequence[Example]) -> str:
    return hashlib.sha256("".join(one.digest for one in examples).encode()).hexdigest()


@contextlib.contextmanager
def _work_dir(options: FidelityOptions) -> Iterator[Path]:
    if options.work_dir is not None:
        with writing(options.work_dir):
            options.work_dir.mkdir(parents=True, exist_ok=True)
        yield options.work_dir
        return
    with tempfile.TemporaryDirectory(prefix="edgephi-fidelity-") as folder:
        yield Path(folder)


class _Run:
    """One comparison: the reference first, then its noise floor, then the models one after the other."""

    def __init__(
        self, options: FidelityOptions, examples: tuple[Example, ...], work_dir: Path, on_step: OnStep
    ) -> None:
        self._options, self._examples, self._work_dir, self._on_step = options, examples, work_dir, on_step
        self.settings = RunSettings(
            threads=options.threads or num_physical_cores(),
            kv_cache=options.kv_cache,
            max_new_tokens=options.max_new_tokens,
        )
        self._reference_settings = dataclasses.replace(self.settings, kv_cache="float")

    def check_space(self) -> None:
        """Refuse a disk that the reference's logits do not fit on.

        Raises:
            CapacityError: It is too small.
        """
        subject = LoadedSubject(self._options.reference, self._reference_settings)
        most = self._options.max_new_tokens
        rows = sum(1 + (most if one.answer is None else len(subject.answer_ids(one.answer))) for one in self._examples)
        needed = 4 * rows * self._vocab_size()
        check_space(self._work_dir / "logits", needed, what="the reference's logits", relief="use fewer examples")

    def _vocab_size(self) -> int:
        bundle = Bundle(self._options.reference)
        bundle.close()
        return bundle.manifest.decoder.vocab_size

    def models(self, reference: FolderFacts, facts: Sequence[FolderFacts]) -> Iterator[ModelFidelity]:
        """Every model's figures."""
        store = self._store(reference, self._reference_settings)
        with LoadedSubject(self._options.reference, self._reference_settings) as subject:
            outcomes = run_reference(subject, self._examples, store, self._reporter(reference.name, self._examples))
        comparison = Comparison(outcomes=outcomes, store=store)
        noise = self._noise(store)
        for path, folder in zip(self._options.models, facts, strict=True):
            with LoadedSubject(path, self.settings) as subject:
                judged = comparison.run(
                    subject,
                    self._examples,
                    self._store(folder, self.settings, store.name),
                    self._reporter(folder.name, self._examples),
                    free=True,
                )
            figures = self._figures(folder, comparison, judged, noise)
            yield dataclasses.replace(figures, parts=self._parts(path, comparison)) if self._options.parts else figures

    def _noise(self, store: RunStore) -> NoiseRun:
        self._on_step(Step(label="measuring the noise floor", done=0, total=0))
        options, settings = self._options, other_threads(self._reference_settings)
        return measure_noise(
            NoiseTask(
                reference=str(options.reference),
                examples=None if options.examples is None else str(options.examples),
                limit=options.limit,
                digests=noise_digests(self._examples),
                work_dir=str(self._work_dir),
                run=store.name,
                threads=settings.threads,
                max_new_tokens=settings.max_new_tokens,
            )
        )

    def _parts(self, path: Path, comparison: Comparison) -> tuple[PartFigures, ...]:
        digests = noise_digests(self._examples)
        return PartsRun(
            reference=self._options.reference,
            model=path,
            settings=self._reference_settings,
            comparison=comparison,
            examples=[one for one in self._examples if one.digest in digests],
            work_dir=self._work_dir,
            reporter=self._reporter,
        ).measure()

    def _figures(
        self, folder: FolderFacts, comparison: Comparison, outcomes: dict[str, ModelOutcome], noise: NoiseRun
    ) -> ModelFidelity:
        judged = []
        for example in self._examples:
            outcome = outcomes[example.digest]
            if outcome.reply is None:
                raise AssertionError("a model that is judged replies freely")
            reference = comparison.outcomes[example.digest]
            judged.append(
                JudgedExample(example=example, reference=reference, forced=outcome.forced, reply=outcome.reply)
            )
        modes = dict.fromkeys(one.mode for one in self._examples)
        model = ModelFidelity(
            folder=folder,
            modes=tuple(
                mode_figures(mode, [one for one in judged if one.example.mode == mode], noise) for mode in modes
            ),
            tasks=task_figures(judged),
        )
        failed = tuple(words for one in self._options.requirements for words in one.failures(model))
        return dataclasses.replace(model, failed=failed)

    def _store(self, folder: FolderFacts, settings: RunSettings, *more: object) -> RunStore:
        facts = (folder.manifest_sha256, folder.kv_cache, settings.max_new_tokens, package_version(), *more)
        return RunStore(self._work_dir, run_name(*facts))

    def _reporter(self, label: str, examples: Sequence[Example]) -> Callable[[int], None]:
        def report(number: int) -> None:
            facts = partial(_facts, label, number, len(examples))
            self._on_step(Step(label=f"comparing {label}", done=number, total=len(examples), facts=facts))

        return report


def _facts(label: str, number: int, total: int, _: float) -> str:
    return f"{label}, example {number + 1:,} of {total:,}"
