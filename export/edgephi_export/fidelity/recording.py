"""Writes the figures of a report into the manifests of the folders that were judged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ArtifactError
from edgephi.base.output_file import staged_file
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.fidelity_info import FidelityInfo, ModeFidelityInfo
from edgephi_export.fidelity.report import FidelityReport, ModeFigures, ModelFidelity


def record_fidelity(report: FidelityReport) -> None:
    """Replace the fidelity that each folder's manifest records.

    Raises:
        ArtifactError: A folder changed since it was measured.
        EdgeError: A manifest cannot be written; it is as it was then.
    """
    for model in report.models:
        _record(report, model)


def _record(report: FidelityReport, model: ModelFidelity) -> None:
    bundle = Bundle(Path(model.folder.path))
    manifest, path = bundle.manifest, bundle.path / MANIFEST_NAME
    bundle.close()
    if bundle.manifest_sha256 != model.folder.manifest_sha256:
        raise ArtifactError(f"{path}: changed while it was measured; measure it again")
    info = FidelityInfo(
        reference=f"{report.reference.name} ({report.reference.recipe})",
        reference_sha256=report.reference.manifest_sha256,
        examples_sha256=report.examples.sha256,
        generator=f"edgephi {report.edgephi_version}",
        date=report.date,
        kv_cache=model.folder.kv_cache,
        modes=tuple(map(_mode, model.modes)),
    )
    with writing(path), staged_file(path) as stream:
        stream.write(dataclasses.replace(manifest, fidelity=info).to_json().encode())


def _mode(figures: ModeFigures) -> ModeFidelityInfo:
    return ModeFidelityInfo(
        mode=figures.mode,
        examples=figures.examples,
        kl=figures.forced.kl.value,
        kl_p99=figures.forced.kl_p99,
        top1=figures.forced.top1.value,
        perplexity_ratio=figures.forced.perplexity_ratio.value,
        exact_match=figures.free.exact_match.value,
        loop_rate=figures.free.loop_rate,
        noise_kl=figures.noise.kl,
    )
