"""Whether a model folder is whole, and close to the checkpoint it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgephi.bundle.bundle import Bundle
from edgephi.inspection.comparison import Compare, OnProgress, TensorComparison
from edgephi.inspection.plugins import find_plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The findings about one folder.

    Attributes:
        folder: The model folder.
        num_files: Files that the manifest lists.
        num_bytes: Their sizes together.
        changed: Files whose sha256 is not the manifest's.
        reference: The checkpoint that tensors were to be compared with; None for none.
        compared: Every tensor beside its source, the worst first; None without a reference, and where files changed.
    """

    folder: Path
    num_files: int
    num_bytes: int
    changed: tuple[str, ...]
    reference: str | None
    compared: tuple[TensorComparison, ...] | None

    @property
    def lost(self) -> tuple[TensorComparison, ...]:
        """Tensors further from their source than their format explains."""
        return tuple(tensor for tensor in self.compared or () if not tensor.ok)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.changed or self.lost)

    @property
    def problem(self) -> str | None:
        """One line about what is wrong and what to do; None where nothing is."""
        if self.changed:
            more = len(self.changed) - 1
            also = f", and so do {more:,} more" if more else ""
            first = self.folder.absolute() / self.changed[0]
            return f"{first}: content differs from the manifest{also}; copy or export the model again"
        if self.lost:
            return (
                f"{self.folder}: {len(self.lost):,} of {len(self.compared or ()):,} tensors are further from the "
                "checkpoint than their format explains; export the model again"
            )
        return None


def ignore_progress(_: int, __: int) -> None:
    """The default observer."""


def verify_folder(
    path: str | Path,
    reference: str | None = None,
    *,
    on_read: OnProgress = ignore_progress,
    on_compare: OnProgress = ignore_progress,
) -> Verification:
    """Read every file of a model folder and compare its sha256 with the manifest.

    Args:
        path: The folder.
        reference: A checkpoint to compare every tensor with, a folder or a Hugging Face id, where no file changed.
        on_read: Called with bytes read and bytes in all.
        on_compare: Called with tensors compared and tensors in all.

    Raises:
        ArtifactError: The folder is no model folder, or its manifest or tensor index is damaged.
        EdgeError: The package that compares is not installed. The message is the pip command.
    """
    compare = None if reference is None else find_compare()
    bundle = Bundle(path)
    bundle.tensor_index()
    num_bytes = sum(info.bytes for info in bundle.manifest.files)
    changed = tuple(info.path for info in bundle.changed_files(_adding(on_read, num_bytes)))
    compared = None
    if compare is not None and reference is not None and not changed:
        compared = _worst_first(compare(bundle.path, reference, on_compare).tensors)
    return Verification(
        folder=bundle.path,
        num_files=len(bundle.manifest.files),
        num_bytes=num_bytes,
        changed=changed,
        reference=reference,
        compared=compared,
    )


def find_compare() -> Compare:
    """The host package's function.

    Raises:
        EdgeError: It is not installed. The message is the pip command.
    """
    compare: Compare = find_plugin("compare", "comparing with a checkpoint")
    return compare


def _adding(on_read: OnProgress, total: int) -> Callable[[int], None]:
    """Adds up the bytes of each read."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        on_read(done, total)

    return add


def _worst_first(tensors: tuple[TensorComparison, ...]) -> tuple[TensorComparison, ...]:
    """Those below their floor, then all others; each by rising decibels, where not a number is the least."""

    def rank(tensor: TensorComparison) -> tuple[bool, float, str]:
        return tensor.ok, -math.inf if math.isnan(tensor.sqnr_db) else tensor.sqnr_db, tensor.name

    return tuple(sorted(tensors, key=rank))
