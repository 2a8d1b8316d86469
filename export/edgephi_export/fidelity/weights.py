"""Compares a finished bundle with the checkpoint it was made from, tensor by tensor.

The checkpoint's side is the plan of the same export,
read again: as it is, which gives the decibels, and rounded to nearest in the same format, which gives their floor. So a
tensor full of outliers is no false alarm, another adapter merged into 4 bits is one, and memory stays as small as in an
export.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, reading
from edgephi.bundle.manifest import CacheKind, TokenInfo
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.inspection.comparison import ComparisonReport, OnProgress, TensorComparison
from edgephi_export.checkpoint.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.peft_adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter
from edgephi_export.checkpoint.selection import choose
from edgephi_export.exporter import num_threads
from edgephi_export.hub.download import CheckpointSource, locate, locate_adapter
from edgephi_export.layouts.edgephi.plan import BundlePlan, plan_bundle
from edgephi_export.options import PrefillKind
from edgephi_export.weights.encode import Encoder, StoredRows, decode
from edgephi_export.weights.plan import Allocation, WeightPlan
from edgephi_export.weights.writer import Chunk, chunks
from edgephi_quantize.formats import BlockFormat, RowFormat
from edgephi_quantize.methods import get_method
from edgephi_quantize.parallel import ordered_map
from edgephi_quantize.recipe import Recipe
from edgephi_quantize.sqnr import SqnrMeter

#: Decibels by which a method may be worse than rounding to nearest: those that go by the weights alone never are, but
#: for chunks of a merged adapter, which another processor sums in another order.
_MARGIN_DB = 1.0
#: The same of methods that go by the inputs: they let the weights' error grow to make that of the outputs small.
_SPREAD_MARGIN_DB = 9.0
#: Nothing need be closer, float32 included.
_ENOUGH_DB = 100.0
_PLAIN = "rtn"


def compare_with_checkpoint(bundle_path: Path, checkpoint: str, on_progress: OnProgress) -> ComparisonReport:
    """See `edgephi.inspection.comparison.Compare`.

    Raises:
        ArtifactError: The checkpoint or the bundle is damaged, or they do not hold the same tensors, or the manifest
            describes another model.
        ConfigError: The bundle's recipe names something that this version does not know.
        EdgeError: The checkpoint could not be downloaded.
    """
    bundle = Bundle(bundle_path)
    planned = _plan(bundle, checkpoint)
    plan = planned.weights
    _check_same(bundle, [allocation for held in plan.files.values() for allocation in held], checkpoint)
    _check_manifest(bundle, planned, checkpoint)
    _check_scales(bundle)
    with threadpool_limits(limits=1, user_api="blas"):
        return ComparisonReport(tensors=tuple(_compare(bundle, plan, on_progress)))


def _plan(bundle: Bundle, checkpoint: str) -> BundlePlan:
    """The plan of an export of `checkpoint` with the bundle's own options."""
    manifest = bundle.manifest
    recipe = Recipe.from_info(manifest.recipe)
    located = locate(checkpoint)
    folder = located.folder
    available = available_modalities(read_layout(folder))
    lacking = [name for name in manifest.modalities if name not in available]
    if lacking:
        raise ArtifactError(f"{checkpoint} has no {' and '.join(lacking)}, which {bundle.path} holds; another model?")
    selection = choose(manifest.adapters.mode, manifest.modalities, available)
    kv_cache: CacheKind = "float" if manifest.decoder.int8_cache is None else "int8"
    opened = open_checkpoint(folder, selection, _adapter(bundle, located))
    stored: PrefillKind | None = None if manifest.decoder.prefill_graph is None else "int8"
    return plan_bundle(opened, selection, WeightPlan(recipe), kv_cache, prefill=stored)


def _adapter(bundle: Bundle, located: CheckpointSource) -> Adapter | None:
    """The adapter that was merged when the bundle was made: from the hub, or beside the checkpoint's files."""
    merged = bundle.manifest.source.merged_adapter
    if merged is None:
        return None
    if "/" in merged.id:
        found = locate_adapter(merged.id, located)
    elif (located.folder / ADAPTER_CONFIG).is_file():
        found = located
    else:
        raise ArtifactError(
            f"{bundle.path} has the adapter {merged.id} merged; put its {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} into "
            f"{located.folder} to compare"
        )
    adapter = Adapter.load(found.folder, merged.id)
    if adapter.info != merged:
        raise ArtifactError(
            f"{found.folder / ADAPTER_WEIGHTS}: not the adapter {merged.id} that {bundle.path} has merged"
        )
    return adapter


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


def _check_manifest(bundle: Bundle, planned: BundlePlan, checkpoint: str) -> None:
    """The manifest, which no hash covers, must describe the model of the checkpoint.

    What is recommended for sampling may differ: it is no fact of the weights.
    """
    manifest, config = bundle.manifest, planned.checkpoint.config
    decoder = dataclasses.replace(planned.decoder, int8_cache=planned.int8_cache)
    pairs = {
        "its rope differs": (manifest.rope, config.rope),
        "its tokens differ": (_without_sources(manifest.tokens), _without_sources(config.tokens)),
        "its adapters differ": (manifest.adapters.available, config.adapters),
        "its decoder differs": (manifest.decoder, decoder),
        "its vision differs": (manifest.vision, planned.vision),
        "its speech differs": (manifest.speech, planned.speech),
    }
    for problem, (found, expected) in pairs.items():
        if found != expected:
            raise ArtifactError(
                f"{bundle.file(MANIFEST_NAME)}: {problem} from what an export of {checkpoint} says; export the model "
                "again"
            )


def _without_sources(tokens: TokenInfo) -> TokenInfo:
    """The ids alone: earlier versions did not record which files name them."""
    return dataclasses.replace(tokens, ends=())


def _check_scales(bundle: Bundle) -> None:
    """The scales of an int8 cache have no source to be compared with; they must be positive numbers."""
    info = bundle.manifest.decoder.int8_cache
    for ref in () if info is None else (info.key_scales, info.value_scales):
        scales = _read(bundle, ref, 0, ref.shape[0])
        if not ((scales > 0) & np.isfinite(scales)).all():
            raise ArtifactError(
                f"{bundle.file(ref.file)}: holds a scale that is no positive number; export the model again"
            )


@dataclasses.dataclass(slots=True)
class _Meters:
    """How far a tensor is from its source as it is stored, and as rounding to nearest would store it."""

    stored: SqnrMeter = dataclasses.field(default_factory=SqnrMeter)
    rounded: SqnrMeter = dataclasses.field(default_factory=SqnrMeter)

    def merge(self, other: _Meters) -> None:
        self.stored.merge(other.stored)
        self.rounded.merge(other.rounded)

    def verdict(self, allocation: Allocation, *, is_spread: bool) -> TensorComparison:
        decibels, floor = self.stored.decibels, min(self.rounded.decibels - _MARGIN_DB, _ENOUGH_DB)
        if is_spread:  # two matrices that have nothing to do with each other are at -3 dB
            floor = max(self.rounded.decibels - _SPREAD_MARGIN_DB, 0.0)
        info = allocation.info
        return TensorComparison(
            name=info.name,
            part=info.part,
            format=info.format,
            sqnr_db=decibels,
            floor_db=floor,
            ok=decibels >= floor,
        )


def _compare(bundle: Bundle, plan: WeightPlan, on_progress: OnProgress) -> Iterator[TensorComparison]:
    recipe = plan.recipe
    encoder = Encoder(recipe if recipe.method is None else dataclasses.replace(recipe, method=_PLAIN))

    def measure(chunk: Chunk) -> tuple[Chunk, _Meters]:
        tensor, format_, size = chunk.allocation.tensor, chunk.allocation.format, chunk.allocation.info.shape[-1]
        rows, meters = tensor.read_rows(chunk.start, chunk.stop), _Meters()
        with np.errstate(all="ignore"):  # damaged scales may be infinite: that is counted, not warned of
            meters.stored.add(rows, decode(_stored_rows(bundle, chunk), format_, size))
        meters.rounded.add(rows, decode(encoder.encode(tensor.name, rows, format_), format_, size))
        return chunk, meters

    done, whole = 0, _Meters()
    every = tuple(a for held in plan.files.values() for a in held if not recipe.is_solved_anew(a.info.name))
    with closing(ordered_map(measure, chunks(every), threads=num_threads(None))) as measured:
        for chunk, meters in measured:
            whole.merge(meters)
            done += chunk.source_bytes
            on_progress(done, plan.source_bytes)
            if chunk.is_last:
                is_block = isinstance(chunk.allocation.format, BlockFormat)
                yield whole.verdict(chunk.allocation, is_spread=is_block and _is_spread(recipe, chunk.allocation.info))
                whole = _Meters()


def _is_spread(recipe: Recipe, info: StoredTensorInfo) -> bool:
    """Whether the codes of a tensor were chosen by its inputs: those of the decoder's own matrices are."""
    by_inputs = recipe.method is not None and get_method(recipe.method).needs_inputs
    return by_inputs and info.part == "decoder" and info.name.startswith("layers.")


def _stored_rows(bundle: Bundle, chunk: Chunk) -> StoredRows:
    """These rows as the bundle stores them."""
    info = chunk.allocation.info
    scales, zero_points = (
        None if ref is None else _read(bundle, ref, chunk.start, chunk.stop) for ref in (info.scales, info.zero_points)
    )
    if isinstance(chunk.allocation.format, RowFormat):
        codes = bundle.tensor(info.values)[:, chunk.start : chunk.stop]  # strided: mapped for this moment only
        return StoredRows(codes.T, scales)
    return StoredRows(_read(bundle, info.values, chunk.start, chunk.stop), scales, zero_points)


def _read(bundle: Bundle, ref: TensorRef, start: int, stop: int) -> NDArray[Any]:
    """Rows of a stored tensor, read and not mapped: mapped pages would count as memory used."""
    path, row = bundle.file(ref.file), math.prod(ref.shape[1:])
    size = ref.num_bytes // max(ref.shape[0], 1)
    with reading(path):
        values = np.fromfile(path, np.dtype(ref.dtype), (stop - start) * row, offset=ref.offset + start * size)
    return values.reshape(stop - start, *ref.shape[1:])
