"""The KL that one layer, or one kind of tensor, causes alone: the reference with only these weights quantized."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.atomic_write import check_space
from edgephi.bundle.bundle import Bundle
from edgephi_export.calibration.examples import Example
from edgephi_export.fidelity.hybrid import HybridFolder, TensorPair, quantized_pairs
from edgephi_export.fidelity.measuring import Comparison, LoadedSubject, OnExample, RunSettings
from edgephi_export.fidelity.outcomes import ModelOutcome
from edgephi_export.fidelity.report import ModeKl, PartFigures, PartKind
from edgephi_export.fidelity.store import RunStore, run_name

_LAYER = re.compile(r"layers\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsRun:
    """What the measurement of one model's parts needs.

    Attributes:
        reference: The folder.
        model: The folder whose weights are put in.
        settings: How the reference is run.
        comparison: The reference's outcomes.
        examples: A few of each mode.
        work_dir: Keeps finished examples; the exchanged weights are there for as long as it takes.
        reporter: Makes the report of progress of a part.
    """

    reference: Path
    model: Path
    settings: RunSettings
    comparison: Comparison
    examples: Sequence[Example]
    work_dir: Path
    reporter: Callable[[str, Sequence[Example]], OnExample]

    def measure(self) -> tuple[PartFigures, ...]:
        """Every layer, then every kind of tensor.

        Raises:
            ConfigError: The folders do not hold the same tensors.
            CapacityError: The disk has no room for a copy of the reference.
            EdgeError: A folder cannot be run or written.
        """
        reference, model = Bundle(self.reference), Bundle(self.model)
        folder = self.work_dir / f"parts-{run_name(reference.manifest_sha256, model.manifest_sha256)}"
        try:
            parts = grouped(quantized_pairs(reference, model))
            size = sum(file.bytes for file in reference.manifest.files)
            check_space(folder, size, what="a copy of the reference")
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            hybrid = HybridFolder(folder, reference, model)
            return tuple(self._part(hybrid, name, pairs, model.manifest_sha256) for name, pairs in parts.items())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            reference.close()
            model.close()

    def _part(
        self, hybrid: HybridFolder, name: tuple[PartKind, str], pairs: Sequence[TensorPair], model_sha256: str
    ) -> PartFigures:
        store = RunStore(self.work_dir, run_name("part", *name, model_sha256, self.comparison.store.name))
        hybrid.put(pairs)
        with LoadedSubject(hybrid.path, self.settings) as subject:
            report = self.reporter(f"{self.model.name}, {name[1]}", self.examples)
            outcomes = self.comparison.run(subject, self.examples, store, report, free=False)
        hybrid.restore(pairs)
        return PartFigures(
            kind=name[0],
            name=name[1],
            tensors=len(pairs),
            bytes=sum(pair.stored.num_bytes for pair in pairs),
            kl=tuple(self._kl(outcomes)),
        )

    def _kl(self, outcomes: Mapping[str, ModelOutcome]) -> Iterator[ModeKl]:
        for mode in dict.fromkeys(one.mode for one in self.examples):
            values = [kl for one in self.examples if one.mode == mode for kl in outcomes[one.digest].forced.kl]
            yield ModeKl(mode=mode, kl=math.fsum(values) / len(values))


def grouped(pairs: Sequence[TensorPair]) -> dict[tuple[PartKind, str], list[TensorPair]]:
    """The tensors of each decoder layer, adapters included, and of each kind: by the name without its layer in the
    decoder, by the component elsewhere.
    """
    layers: dict[tuple[PartKind, str], list[TensorPair]] = {}
    kinds: dict[tuple[PartKind, str], list[TensorPair]] = {}
    for pair in pairs:
        part, match = pair.reference.part, _LAYER.fullmatch(pair.reference.name)
        if match is not None:
            layers.setdefault(("layer", f"layer {match[1]}"), []).append(pair)
        name = part if part != "decoder" else match[2] if match is not None else pair.reference.name
        kinds.setdefault(("tensors", name), []).append(pair)
    return layers | kinds
