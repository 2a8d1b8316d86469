"""Where files are cut into chunks: where tensors begin, so that the chunks of one that changed are no others' too."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from edgephi.bundle.bundle import Bundle

MOST_BYTES = 4 << 20
#: Neighbours that are smaller are one chunk.
_LEAST_BYTES = 64 << 10


def tensor_offsets(model: Path) -> dict[str, tuple[int, ...]]:
    """Where tensors begin in each weight file of a model folder, by the file's path in it.

    Raises:
        ArtifactError: The folder is damaged, or no model folder.
    """
    with closing(Bundle(model)) as bundle:
        index = bundle.tensor_index()
    found: dict[str, set[int]] = {}
    for ref in (*(ref for one in index.tensors for ref in one.tensors), *(one.tensor for one in index.constants)):
        found.setdefault(ref.file, set()).add(ref.offset)
    return {file: tuple(sorted(offsets)) for file, offsets in found.items()}


def cuts(size: int, offsets: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The ends of the chunks of a file.

    Args:
        size: Of the file, in bytes.
        offsets: Where its tensors begin, rising.
    """
    edges = [*(offset for offset in offsets if 0 < offset < size), size]
    ends, start = [], 0
    for edge, following in zip(edges, [*edges[1:], size], strict=True):
        # A large tensor begins a chunk whatever is before it: else its chunks shift when a small neighbour changes.
        if edge - start < _LEAST_BYTES and following - edge < _LEAST_BYTES and edge != size:
            continue
        while edge - start > MOST_BYTES:
            start += MOST_BYTES
            ends.append(start)
        if edge > start:
            ends.append(edge)
            start = edge
    return tuple(ends)
