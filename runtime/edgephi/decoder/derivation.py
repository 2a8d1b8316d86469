"""Derives the weights of a graph for prefill from the decoder's own: bytes with one scale per output row.

weight of the decoder = (code - zero point) * scale    rounded once more to    code of -64..64 * scale of its row

It costs what the decoder's codes have lost already, and a 128th of a row's largest weight at most. Two matrices that
the decoder has in one, gate and up, follow each other: the rows of all that are named after it are its rows in order.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import ask, never
from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.prefill_info import PREFILL
from edgephi.bundle.tensor_index import StoredTensorInfo, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.decoder.dequantize import dequantize
from edgephi.decoder.row_codes import quantize_rows

_NAME = re.compile(rf"{re.escape(PREFILL)}(.+?)(?:\.(?:gate|up)(?:\.\d+)?)?")
#: Rows that are computed at a time: some 2 MB of floats.
_ROWS = 64
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Job:
    """One matrix [N, K] to derive, from the rows of `source` from `first` on."""

    target: StoredTensorInfo
    source: StoredTensorInfo
    first: int


def file_sizes(index: TensorIndex) -> dict[str, int]:
    """Bytes of each file of derived tensors."""
    sizes: dict[str, int] = {}
    for ref in (ref for tensor in index.tensors for ref in tensor.tensors):
        sizes[ref.file] = max(sizes.get(ref.file, 0), ref.offset + ref.num_bytes)
    return sizes


def derive(
    bundle: Bundle, index: TensorIndex, folder: Path, *, threads: int, should_stop: Callable[[], bool] = never
) -> None:
    """Write the files of derived tensors. The result does not depend on the number of threads.

    Args:
        bundle: Has the tensors that they are derived from.
        index: Names them and their places.
        folder: Exists; the files' own folders are made.
        threads: Workers. Each holds one matrix of bytes.
        should_stop: Asked every 50 ms.

    Raises:
        Stopped: `should_stop` returned True.
        ArtifactError: The index names a tensor that the folder has not in that shape, or a weight is not finite.
        OSError: The operating system refused; the disk may be full.
    """
    jobs = tuple(_jobs(bundle, index))
    with ExitStack() as stack:
        handles = {
            name: stack.enter_context(_new_file(folder / name, size)) for name, size in file_sizes(index).items()
        }
        _run(lambda job: _write(bundle, job, handles), jobs, threads, should_stop)
        for handle in handles.values():
            ask(should_stop)
            os.fsync(handle)


def _jobs(bundle: Bundle, index: TensorIndex) -> Iterator[_Job]:
    held = {tensor.name: tensor for tensor in bundle.tensor_index().tensors}
    where, done = bundle.path, dict.fromkeys(held, 0)
    for target in index.tensors:
        found = _NAME.fullmatch(target.name)
        source = held.get(found[1]) if found else None
        if source is None or target.scales is None or source.shape[1:] != target.shape[1:]:
            raise ArtifactError(f"{where}: {target.name} cannot be derived from what is there; export the model again")
        yield _Job(target, source, done[source.name])
        done[source.name] += target.shape[0]
    for name, count in done.items():
        if count not in (0, held[name].shape[0]):
            raise ArtifactError(f"{where}: {count:,} rows are derived from {name}, another number than it has")


@contextmanager
def _new_file(path: Path, size: int) -> Iterator[int]:
    """A new file of this size, open while the block runs: its descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        if hasattr(os, "posix_fallocate"):  # a full disk is known before the work
            os.posix_fallocate(stream.fileno(), 0, size)
        yield stream.fileno()


def _run(work: Callable[[_Job], None], jobs: Iterable[_Job], threads: int, should_stop: Callable[[], bool]) -> None:
    """All jobs, by so many threads. An error of one, or a stop, ends the others before their next."""
    left = threading.Event()

    def guarded(job: _Job) -> None:
        if not left.is_set():
            work(job)

    with ThreadPoolExecutor(threads, thread_name_prefix="edgephi-derive") as pool:
        waiting = {pool.submit(guarded, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, _POLL_S, FIRST_EXCEPTION)
                for one in done:
                    one.result()
                ask(should_stop)
        finally:
            left.set()


def _write(bundle: Bundle, job: _Job, handles: dict[str, int]) -> None:
    """Derive one matrix: codes int8 [K, N], as MatMulIntegerToFloat wants them, and scales float32 [N]."""
    target = job.target
    rows, size = target.shape
    codes, scales = np.empty((size, rows), np.int8), np.empty(rows, np.float32)
    for start in range(0, rows, _ROWS):
        stop = min(start + _ROWS, rows)
        part, scales[start:stop] = quantize_rows(_values(bundle, job.source, job.first + start, job.first + stop))
        codes[:, start:stop] = part.T
    if target.scales is None:
        raise AssertionError("was looked at when the jobs were made")
    for ref, array in ((target.values, codes), (target.scales, scales)):
        _write_all(handles[ref.file], array, ref)


def _write_all(handle: int, array: NDArray[Any], ref: TensorRef) -> None:
    data, done = array.reshape(-1).view(np.uint8).data, 0
    if len(data) != ref.num_bytes or array.dtype.name != ref.dtype:
        raise ArtifactError(f"{ref.file}: the place at {ref.offset:,} is not that of int8:rows; export the model again")
    while done < len(data):
        done += os.pwrite(handle, data[done:], ref.offset + done)


def _values(bundle: Bundle, source: StoredTensorInfo, start: int, stop: int) -> NDArray[np.float32]:
    """The weights of some rows: float32 [n, K]."""
    if source.scales is None:
        floats: NDArray[np.float32] = bundle.tensor(source.values.rows(start, stop)).astype(np.float32)
        return floats
    scales = bundle.tensor(source.scales.rows(start, stop))
    if source.scales.shape == source.shape[:1]:  # int8:rows: codes [K, N]
        rows: NDArray[np.float32] = bundle.tensor(source.values)[:, start:stop].T * scales[:, None]
        return rows
    zero_points = None if source.zero_points is None else bundle.tensor(source.zero_points.rows(start, stop))
    bits = int(source.format.partition(":")[0].removeprefix("int"))
    values = bundle.tensor(source.values.rows(start, stop))
    return dequantize(values, scales, zero_points, bits=bits, size=source.shape[1])
