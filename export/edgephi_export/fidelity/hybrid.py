"""A copy of the reference in which some weights are those of another folder, to see what these alone cost."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ConfigError
from edgephi.bundle.block_hashes import BLOCKS_NAME
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.weights.encode import StoredRows, decode
from edgephi_quantize.formats import RowFormat, parse_format

_EXACT = "float32"
_CHUNK_VALUES = 1 << 22


@dataclasses.dataclass(frozen=True, slots=True)
class TensorPair:
    """A tensor of the reference in float32, and what the other folder stores in its place."""

    reference: StoredTensorInfo
    stored: StoredTensorInfo


def quantized_pairs(reference: Bundle, model: Bundle) -> tuple[TensorPair, ...]:
    """Every tensor that the model stores in codes, in the order of the reference.

    Raises:
        ConfigError: The folders do not hold the same tensors, or the reference stores one of these in codes too.
        ArtifactError: An index is damaged.
    """
    stored = {(info.part, info.name): info for info in model.tensor_index().tensors}
    pairs = []
    for info in reference.tensor_index().tensors:
        other = stored.get((info.part, info.name))
        if other is None or other.shape != info.shape:
            raise ConfigError(
                f"--parts: {model.path} has no {info.name} of the reference's shape; give a reference exported with "
                "the same --adapters and --modalities"
            )
        if other.format != _EXACT:
            if info.format != _EXACT:
                raise ConfigError(f"--parts: {reference.path} stores {info.name} as {info.format}; use --recipe fp32")
            pairs.append(TensorPair(info, other))
    return tuple(pairs)


_Chunks = Callable[[Bundle, TensorPair], Iterator[NDArray[np.floating]]]


class HybridFolder:
    """The copy on disk. Files that never change are linked.

    Args:
        folder: To be made.
        reference: The folder that is copied.
        model: Whose weights are put in.

    Raises:
        EdgeError: It cannot be written.
    """

    def __init__(self, folder: Path, reference: Bundle, model: Bundle) -> None:
        self.path, self._reference, self._model = folder, reference, model
        manifest = reference.manifest
        # Checksums of blocks would find the weights that are exchanged.
        files = tuple(file for file in manifest.files if file.path != BLOCKS_NAME)
        with writing(folder):
            for file in files:
                (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
                self._copy(file.path)
            text = dataclasses.replace(manifest, files=files).to_json()
            (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")

    def _copy(self, name: str) -> None:
        if not name.endswith(".bin"):
            try:
                os.link(self._reference.file(name), self.path / name)
            except OSError:  # another file system
                pass
            else:
                return
        shutil.copyfile(self._reference.file(name), self.path / name)

    def put(self, pairs: Iterable[TensorPair]) -> None:
        """Write the model's values of these tensors.

        Raises:
            EdgeError: The folder cannot be written.
        """
        self._write(pairs, _stored_chunks, self._model)

    def restore(self, pairs: Iterable[TensorPair]) -> None:
        """Write the reference's values again.

        Raises:
            EdgeError: The folder cannot be written.
        """
        self._write(pairs, _exact_chunks, self._reference)

    def _write(self, pairs: Iterable[TensorPair], chunks: _Chunks, source: Bundle) -> None:
        with writing(self.path):
            for pair in pairs:
                place = pair.reference.values
                with (self.path / place.file).open("r+b") as stream:
                    stream.seek(place.offset)
                    for values in chunks(source, pair):
                        stream.write(np.ascontiguousarray(values, dtype=np.float32).tobytes())


def _exact_chunks(reference: Bundle, pair: TensorPair) -> Iterator[NDArray[np.floating]]:
    tensor = reference.tensor(pair.reference.values)
    for start, stop in _row_ranges(pair.reference.shape):
        yield tensor[start:stop]


def _stored_chunks(model: Bundle, pair: TensorPair) -> Iterator[NDArray[np.floating]]:
    info, format_ = pair.stored, parse_format(pair.stored.format)
    values, scales, zero_points = (
        None if ref is None else model.tensor(ref) for ref in (info.values, info.scales, info.zero_points)
    )
    if values is None:
        raise AssertionError("a stored tensor has values")
    if isinstance(format_, RowFormat):
        values = values.T
    for start, stop in _row_ranges(info.shape):
        rows = (None if one is None else one[start:stop] for one in (scales, zero_points))
        yield decode(StoredRows(values[start:stop], *rows), format_, info.shape[-1])


def _row_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = max(1, _CHUNK_VALUES // max(math.prod(shape[1:]), 1))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))
