"""The files of a walk beside the folder that is made: what has been solved, and where the walk goes on.

    walk.json          what the walk is of; another one's files are removed
    sequences.json     adapter and length of each sequence
    hidden-NNN.npy     float32 [positions, H]: all sequences before layer NNN, one after the other
    layer-NNN.npz      the stored tensors of layer NNN, as `<name>|values`, `|scales`, `|zero_points`

Each appears whole or not at all, and a layer's file before the hidden states behind it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.base.file_lock import lock_alone
from edgephi.base.output_file import staged_file
from edgephi.bundle.manifest import Adapter
from edgephi_export.layer_walk.sequences import CalibrationSequence
from edgephi_export.weights.encode import StoredRows

_IDENTITY, _SEQUENCES = "walk.json", "sequences.json"
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Sequence:
    adapter: Adapter
    length: int


class WalkFiles:
    """The folder of one walk. Use as a context manager; one process at a time.

    Args:
        folder: Made where it is not there.
        identity: Everything that the result depends on, as text.

    Raises:
        ConfigError: Another process is at work in the folder.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self._identity = folder, identity
        self._lock: IO[bytes] | None = None
        self._sequences: list[_Sequence] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        self._lock = (self.folder / "lock").open("wb")
        try:
            lock_alone(self._lock, f"{self.folder}: another export is at work in there; wait for it, or end it")
        except BaseException:
            self._lock.close()
            raise
        self._clear_others()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    @property
    def has_sequences(self) -> bool:
        """Whether an earlier run got as far as the layers."""
        return bool(self._sequences)

    @property
    def adapters(self) -> list[Adapter]:
        """Of each sequence."""
        return [sequence.adapter for sequence in self._sequences]

    @property
    def num_done(self) -> int:
        """Layers that are solved."""
        return max(int(path.stem[-3:]) for path in self.folder.glob("hidden-*.npy"))

    def begin(self, sequences: Sequence[CalibrationSequence]) -> None:
        """Keep the sequences: the hidden states before the first layer."""
        self._sequences = [_Sequence(sequence.adapter, len(sequence)) for sequence in sequences]
        self._keep_hidden(0, [sequence.rows for sequence in sequences])
        text = json.dumps([[sequence.adapter, sequence.length] for sequence in self._sequences])
        self._write(_SEQUENCES, lambda stream: stream.write(text.encode()))

    def hidden(self) -> list[Floats]:
        """The hidden states before the first layer that is not solved: float32 [S, H] for each sequence."""
        rows = np.load(self.folder / f"hidden-{self.num_done:03}.npy")
        ends = np.cumsum([sequence.length for sequence in self._sequences])[:-1]
        return np.split(rows, ends)

    def add(self, layer: int, stored: Mapping[str, StoredRows], hidden: list[Floats]) -> None:
        """Keep a layer's tensors, and the hidden states behind it."""
        arrays = {
            f"{name}|{part}": array
            for name, rows in stored.items()
            for part in ("values", "scales", "zero_points")
            if (array := getattr(rows, part)) is not None
        }
        self._write(_layer_file(layer), lambda stream: np.savez(stream, **arrays))
        self._keep_hidden(layer + 1, hidden)
        (self.folder / f"hidden-{layer:03}.npy").unlink()

    def layer(self, layer: int) -> dict[str, StoredRows]:
        """The stored tensors of a layer that is solved."""
        with np.load(self.folder / _layer_file(layer)) as held:
            names = sorted({key.rpartition("|")[0] for key in held.files})
            return {
                name: StoredRows(
                    held[f"{name}|values"],
                    *(
                        held[key] if (key := f"{name}|{part}") in held.files else None
                        for part in ("scales", "zero_points")
                    ),
                )
                for name in names
            }

    def names(self) -> frozenset[str]:
        """Every tensor of the layers that are solved."""
        found: set[str] = set()
        for layer in range(self.num_done):
            with np.load(self.folder / _layer_file(layer)) as held:
                found |= {key.rpartition("|")[0] for key in held.files}
        return frozenset(found)

    def remove(self) -> None:
        """Remove everything: the folder that is made holds it now."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear_others(self) -> None:
        """Remove the files of another walk; read how far this one is."""
        identity, sequences = self.folder / _IDENTITY, self.folder / _SEQUENCES
        if not identity.is_file() or identity.read_text(encoding="utf-8") != self._identity:
            for path in self.folder.iterdir():
                if path.name != "lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self._write(_IDENTITY, lambda stream: stream.write(self._identity.encode()))
        elif sequences.is_file():
            raw = json.loads(sequences.read_text(encoding="utf-8"))
            self._sequences = [_Sequence(adapter, length) for adapter, length in raw]

    def _keep_hidden(self, layer: int, hidden: list[Floats]) -> None:
        self._write(f"hidden-{layer:03}.npy", lambda stream: np.save(stream, np.concatenate(hidden)))

    def _write(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        with staged_file(self.folder / name) as stream:
            write(stream)


def _layer_file(layer: int) -> str:
    return f"layer-{layer:03}.npz"
