"""Compares a finished bundle with the checkpoint it was made from, tensor by tensor.

Owns the way back from stored bytes to weights, and how close each format must come. The checkpoint's side is the plan
of the same export, read again and not quantized; so memory stays as small as in an export.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.blocks import dequantize
from edgephi.bundle import Bundle, reading
from edgephi.comparison import ComparisonReport, OnProgress, TensorComparison
from edgephi.errors import ArtifactError
from edgephi.manifest import TensorRef
from edgephi_export.bundle_plan import plan_bundle
from edgephi_export.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.exporter import num_threads
from edgephi_export.hub import locate
from edgephi_export.selection import choose
from edgephi_export.weight_plan import Allocation, WeightPlan
from edgephi_export.weights_writer import Chunk, chunks, closing
from edgephi_quantize.formats import BlockFormat, FloatFormat, Format, RowFormat
from edgephi_quantize.parallel import ordered_map
from edgephi_quantize.recipe import Recipe
from edgephi_quantize.sqnr import SqnrMeter

#: Decibels that any sound tensor keeps, by bits. Gaussian weights keep 15 to 20 more, outliers cost some of them;
#: weights of another checkpoint come out at 0 or less.
_FLOORS = {8: 25.0, 4: 8.0, 2: 0.5}
_FLOAT_FLOORS = {"float32": 100.0, "float16": 40.0}


def compare_with_checkpoint(bundle_path: Path, checkpoint: str, on_progress: OnProgress) -> ComparisonReport:
    """See `edgephi.comparison.Compare`.

    Raises:
        ArtifactError: The checkpoint or the bundle is damaged, or they do not hold the same tensors.
        ConfigError: The bundle's recipe names something that this version does not know.
        EdgeError: The checkpoint could not be downloaded.
    """
    bundle = Bundle(bundle_path)
    plan = _plan(bundle, checkpoint)
    allocations = [allocation for held in plan.files.values() for allocation in held]
    _check_same(bundle, allocations, checkpoint)
    with threadpool_limits(limits=1, user_api="blas"):
        return ComparisonReport(tensors=tuple(_compare(bundle, allocations, plan.source_bytes, on_progress)))


def floor_of(format_: Format) -> float:
    """Decibels below which something went wrong."""
    if isinstance(format_, FloatFormat):
        return _FLOAT_FLOORS[format_.dtype]
    return _FLOORS[8 if isinstance(format_, RowFormat) else format_.bits]


def _plan(bundle: Bundle, checkpoint: str) -> WeightPlan:
    """The plan of an export of `checkpoint` with the bundle's own options."""
    manifest = bundle.manifest
    recipe = Recipe.from_info(manifest.recipe)
    folder = locate(checkpoint).folder
    available = available_modalities(read_layout(folder))
    lacking = [name for name in manifest.modalities if name not in available]
    if lacking:
        raise ArtifactError(f"{checkpoint} has no {' and '.join(lacking)}, which {bundle.path} holds; another model?")
    selection = choose(manifest.adapters.mode, manifest.modalities, available)
    return plan_bundle(open_checkpoint(folder, selection), selection, WeightPlan(recipe)).weights


def _check_same(bundle: Bundle, allocations: Iterable[Allocation], checkpoint: str) -> None:
    """The bundle must hold exactly the tensors that an export of the checkpoint would."""
    planned = {(a.info.part, a.info.name): a.info for a in allocations}
    held = {(info.part, info.name): info for info in bundle.tensor_index().tensors}
    for key in sorted(planned.keys() ^ held.keys()):
        where = bundle.path if key in planned else checkpoint
        raise ArtifactError(f"{where} has no tensor {key[1]} ({key[0]}), the other one has; they are different models")
    for key, info in planned.items():
        if held[key] != info:
            raise ArtifactError(
                f"{bundle.path}: tensor {info.name} is stored as {held[key].format} {list(held[key].shape)}, an export "
                f"of {checkpoint} stores {info.format} {list(info.shape)}; export the model again"
            )


def _compare(
    bundle: Bundle, allocations: list[Allocation], total_bytes: int, on_progress: OnProgress
) -> Iterator[TensorComparison]:
    def measure(chunk: Chunk) -> tuple[Chunk, SqnrMeter]:
        meter = SqnrMeter()
        meter.add(chunk.allocation.tensor.read_rows(chunk.start, chunk.stop), _stored_rows(bundle, chunk))
        return chunk, meter

    done, whole = 0, SqnrMeter()
    with closing(ordered_map(measure, chunks(tuple(allocations)), threads=num_threads(None))) as measured:
        for chunk, meter in measured:
            whole.merge(meter)
            done += chunk.source_bytes
            on_progress(done, total_bytes)
            if chunk.is_last:
                yield _verdict(chunk.allocation, whole.decibels)
                whole = SqnrMeter()


def _verdict(allocation: Allocation, decibels: float) -> TensorComparison:
    floor, info = floor_of(allocation.format), allocation.info
    return TensorComparison(
        name=info.name,
        part=info.part,
        format=info.format,
        sqnr_db=decibels,
        floor_db=floor,
        ok=decibels >= floor,
    )


def _stored_rows(bundle: Bundle, chunk: Chunk) -> NDArray[Any]:
    """What the bundle holds of these rows."""
    info, format_ = chunk.allocation.info, chunk.allocation.format
    if isinstance(format_, FloatFormat):
        return _read(bundle, info.values, chunk.start, chunk.stop)
    if info.scales is None:
        raise ValueError(f"{info.name} has no scales")
    scales = _read(bundle, info.scales, chunk.start, chunk.stop)
    if isinstance(format_, BlockFormat):
        values = _read(bundle, info.values, chunk.start, chunk.stop)
        zero_points = None if info.zero_points is None else _read(bundle, info.zero_points, chunk.start, chunk.stop)
        return dequantize(values, scales, zero_points, bits=format_.bits, size=info.shape[1])
    codes = bundle.tensor(info.values)[:, chunk.start : chunk.stop]  # strided: mapped for this moment only
    rows: NDArray[np.float32] = codes.T.astype(np.float32) * scales[:, None]
    return rows


def _read(bundle: Bundle, ref: TensorRef, start: int, stop: int) -> NDArray[Any]:
    """Rows of a stored tensor, read and not mapped: mapped pages would count as memory used."""
    path, row = bundle.file(ref.file), math.prod(ref.shape[1:])
    size = ref.num_bytes // max(ref.shape[0], 1)
    with reading(path):
        values = np.fromfile(path, np.dtype(ref.dtype), (stop - start) * row, offset=ref.offset + start * size)
    return values.reshape(stop - start, *ref.shape[1:])
