"""Carries out a weight plan: reads, encodes and writes every tensor.

Chunks are encoded by threads and written in order, so the bytes do not depend on the number of threads; memory holds a
few chunks, and of one tensor the scales, or all bytes where its rows are stored transposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.bundle.block_hashes import FileBlocks
from edgephi.bundle.manifest import FileInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.progress import Meter, Progress
from edgephi_export.weights.encode import Encoder, StoredRows
from edgephi_export.weights.file import WeightsFile
from edgephi_export.weights.plan import Allocation, WeightPlan
from edgephi_quantize.formats import RowFormat
from edgephi_quantize.parallel import ordered_map

#: Bytes that are turned at a time: in cache.
_TURNED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a planned tensor."""

    allocation: Allocation
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        """Whether the tensor ends here."""
        return self.stop == self.allocation.tensor.shape[0]

    @property
    def source_bytes(self) -> int:
        """Its share of the bytes that are read."""
        tensor = self.allocation.tensor
        return tensor.source_bytes * self.stop // tensor.shape[0] - tensor.source_bytes * self.start // tensor.shape[0]


def chunks(allocations: tuple[Allocation, ...]) -> Iterator[Chunk]:
    """All tensors, cut into chunks, in order."""
    for allocation in allocations:
        for start, stop in allocation.tensor.spans():
            yield Chunk(allocation, start, stop)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of weights: what the manifest says of it, and checksums of its blocks."""

    info: FileInfo
    blocks: FileBlocks


def progress_totals(plan: WeightPlan) -> Progress:
    """All that there is to do for a plan, of which nothing is done."""
    return Progress(
        stage="reading",
        total_tensors=sum(map(len, plan.files.values())),
        total_read_bytes=plan.source_bytes,
        total_written_bytes=plan.num_bytes,
    )


def write_weights(plan: WeightPlan, folder: Path, threads: int, meter: Meter) -> list[WrittenFile]:
    """Write every file of a plan.

    Args:
        plan: What goes where.
        folder: The bundle's folder.
        threads: Workers.
        meter: Gets each chunk.

    Returns:
        The files written.

    Raises:
        ArtifactError: A tensor cannot be read or holds values that are not finite.
        ConfigError: A value is too large for its format.
    """
    encoder, solved = Encoder(plan.recipe), plan.solved

    def work(chunk: Chunk) -> tuple[Chunk, StoredRows]:
        tensor = chunk.allocation.tensor
        if solved is not None and tensor.name in solved:
            return chunk, solved.rows(tensor.name, chunk.start, chunk.stop)
        codes, format_ = tensor.codes, chunk.allocation.format
        if codes is not None and codes.format == format_:
            return chunk, encoder.pack(tensor.name, codes.read_rows(chunk.start, chunk.stop), codes.format)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows in a merge is refused below
            rows = tensor.read_rows(chunk.start, chunk.stop)
        return chunk, encoder.encode(tensor.name, rows, format_)

    written = []
    # Threads are busy with chunks of their own; a BLAS that splits them further would only get in the way.
    with threadpool_limits(limits=1, user_api="blas"):
        for path, allocations in plan.files.items():
            meter.stage(Path(path).stem)
            results = ordered_map(work, chunks(allocations), threads=threads)
            with WeightsFile(folder, path) as file, closing(results) as stored:
                _write_all(file, stored, meter)
                written.append(WrittenFile(file.info(), file.blocks()))
    return written


def _write_all(file: WeightsFile, stored: Iterator[tuple[Chunk, StoredRows]], meter: Meter) -> None:
    columns: list[NDArray[Any]] = []
    tails: list[tuple[NDArray[Any] | None, ...]] = []
    for chunk, rows in stored:
        info, written = chunk.allocation.info, 0
        if chunk.start == 0:
            file.start(info.values)
        if isinstance(chunk.allocation.format, RowFormat):
            columns.append(rows.values)
        else:
            file.write(rows.values)
            written += rows.values.nbytes
        tails.append((rows.scales, rows.zero_points))
        if chunk.is_last:
            written += _write_transposed(file, columns)
            file.end(info.values)
            written += _write_tails(file, (info.scales, info.zero_points), tails)
            columns.clear()
            tails.clear()
        meter.advance(chunk.source_bytes, written, tensors=int(chunk.is_last))


def _write_transposed(file: WeightsFile, columns: list[NDArray[Any]]) -> int:
    """Row chunks [n, inputs] of one matrix as [inputs, outputs], some inputs at a time. Gives the bytes written."""
    if not columns:
        return 0
    inputs, outputs = columns[0].shape[1], sum(map(len, columns))
    step = max(_TURNED_BYTES // outputs, 1)
    for start in range(0, inputs, step):
        file.write(np.concatenate([part[:, start : start + step].T for part in columns], axis=1))
    return sum(part.nbytes for part in columns)


def _write_tails(
    file: WeightsFile, places: tuple[TensorRef | None, ...], tails: list[tuple[NDArray[Any] | None, ...]]
) -> int:
    """Scales, then zero points: they lie behind the codes of all rows. Gives the bytes written."""
    written = 0
    for index, ref in enumerate(places):
        if ref is None:
            continue
        file.start(ref)
        for tail in tails:
            part = tail[index]
            if part is not None:
                file.write(part)
                written += part.nbytes
        file.end(ref)
    return written
