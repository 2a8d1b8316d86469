"""The folder of finished work: records of examples by the model and the settings that made them.

    RUN/DIGEST.json   the record of an example
    RUN/DIGEST.npy    under the reference: float32 [A + 1, V], its logits

A run's name is made of all that its results depend on, so a folder may serve several models and settings, and what was
finished before an interruption is not done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, read_json
from edgephi.base.output_file import staged_file

T = TypeVar("T")
_NAME_LETTERS = 24


def run_name(*facts: object) -> str:
    """The name of a run whose results depend on these facts, and on the example."""
    return hashlib.sha256(json.dumps([str(fact) for fact in facts]).encode()).hexdigest()[:_NAME_LETTERS]


class RunStore:
    """The records of one run.

    Args:
        work_dir: Holds the runs; made if it is missing.
        name: Of the run, see run_name.

    Attributes:
        name: Of the run.

    Raises:
        EdgeError: The folder cannot be made.
    """

    def __init__(self, work_dir: Path, name: str) -> None:
        self.name = name
        self._folder = work_dir / name
        with writing(work_dir):
            self._folder.mkdir(parents=True, exist_ok=True)

    def load(self, digest: str, cls: type[T]) -> T | None:
        """The record of an example; None where there is none, or a damaged one."""
        path = self._folder / f"{digest}.json"
        try:
            return decode(cls, read_json(path), str(path)) if path.is_file() else None
        except ArtifactError:
            return None

    def save(self, digest: str, record: Any) -> None:
        """Keep a record.

        Raises:
            CapacityError: The disk is full.
            EdgeError: It cannot be written.
        """
        path = self._folder / f"{digest}.json"
        with writing(path), staged_file(path) as stream:
            stream.write(json.dumps(dataclasses.asdict(record)).encode())

    def load_logits(self, digest: str) -> NDArray[np.float32] | None:
        """Mapped logits of an example; None where there are none."""
        path = self._folder / f"{digest}.npy"
        try:
            logits: NDArray[np.float32] = np.load(path, mmap_mode="r")
        except (OSError, ValueError):
            return None
        return logits

    def save_logits(self, digest: str, logits: NDArray[np.float32]) -> None:
        """Keep logits; before the record, which says that they are there.

        Raises:
            CapacityError: The disk is full.
            EdgeError: It cannot be written.
        """
        path = self._folder / f"{digest}.npy"
        with writing(path), staged_file(path) as stream:
            np.save(stream, logits)
