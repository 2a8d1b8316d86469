"""Whether the places that a tensor index names can be right: checked before anything is mapped."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_index import GraphConstant, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef

_AGAIN = "export the model again"


class _Place(NamedTuple):
    """Bytes of a file, and the tensor or constant that they are."""

    file: str
    start: int
    stop: int
    name: str
    tensor: TensorRef


def check_tensors(index: TensorIndex, manifest: Manifest, where: str) -> None:
    """Refuse tensors that are listed twice, leave their file, overlap, or are not where the manifest has them.

    Raises:
        ArtifactError: There is one. The message names it.
    """
    if twice := first_twice(tensor.name for tensor in index.tensors):
        raise ArtifactError(f"{where}: tensor {twice} is listed twice; {_AGAIN}")
    check_inside([ref for tensor in index.tensors for ref in tensor.tensors], manifest, where)
    _check_apart(_stored(index, manifest), where)
    stored = {ref for tensor in index.tensors for ref in tensor.tensors}
    for ref in manifest.weights:
        if ref not in stored:
            raise ArtifactError(
                f"{where}: no tensor is at {ref.offset:,} of {ref.file}, the manifest says one is; {_AGAIN}"
            )


def check_constants(index: TensorIndex, manifest: Manifest, where: str) -> None:
    """Refuse constants that are listed twice, overlap, lie in no tensor of their name and type, or are of no graph.

    Args:
        index: Its tensors were checked.
        manifest: Of the folder.
        where: Path of the index, for messages.

    Raises:
        ArtifactError: There is one. The message names it.
    """
    if twice := first_twice(constant.name for constant in index.constants):
        raise ArtifactError(f"{where}: constant {twice} is listed twice; {_AGAIN}")
    stored = _stored(index, manifest)
    for constant in index.constants:
        if strange := sorted(set(constant.graphs) - set(manifest.graphs)):
            raise ArtifactError(f"{where}: constant {constant.name} is of {strange[0]}, which is no graph; {_AGAIN}")
        _check_within(constant, stored, where)
    _check_apart(sorted(_place(constant.name, constant.tensor) for constant in index.constants), where)


def check_inside(tensors: Iterable[TensorRef], manifest: Manifest, where: str) -> None:
    """Refuse a tensor whose file is not listed or too short for it.

    Raises:
        ArtifactError: There is one. The message names its file.
    """
    sizes = {info.path: info.bytes for info in manifest.files}
    for ref in tensors:
        if ref.file not in sizes:
            raise ArtifactError(f"{where}: {ref.file} is used but not listed under files")
        if ref.offset + ref.num_bytes > sizes[ref.file]:
            raise ArtifactError(f"{where}: a tensor of shape {ref.shape} leaves {ref.file}")


def first_twice(names: Iterable[str]) -> str | None:
    """The first name that comes more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _stored(index: TensorIndex, manifest: Manifest) -> list[_Place]:
    """The tensors in the order of their places, and the scales of an int8 cache, which have no name."""
    named = [_place(tensor.name, ref) for tensor in index.tensors for ref in tensor.tensors]
    return sorted([*named, *(_place("", ref) for ref in manifest.decoder.cache_scales)])


def _place(name: str, ref: TensorRef) -> _Place:
    return _Place(ref.file, ref.offset, ref.offset + ref.num_bytes, name, ref)


def _check_apart(places: list[_Place], where: str) -> None:
    """Places in order must not share a byte."""
    for one, other in pairwise(places):
        if one.file == other.file and one.stop > other.start:
            raise ArtifactError(f"{where}: {one.name} and {other.name} overlap in {one.file}; {_AGAIN}")


def _check_within(constant: GraphConstant, stored: list[_Place], where: str) -> None:
    place = _place(constant.name, constant.tensor)
    at = bisect_right(stored, (place.file, place.start), key=lambda held: (held.file, held.start)) - 1
    held = stored[at] if at >= 0 else None
    if held is None or held.file != place.file or place.stop > held.stop or not _is_of(constant, held):
        raise ArtifactError(
            f"{where}: constant {constant.name} is at {place.start:,} of {place.file}, where no tensor has its "
            f"name and type; {_AGAIN}"
        )


def _is_of(constant: GraphConstant, held: _Place) -> bool:
    """A constant is named as its tensor, or so with a suffix."""
    is_named = not held.name or constant.name == held.name or constant.name.startswith(f"{held.name}.")
    return is_named and constant.tensor.dtype == held.tensor.dtype
