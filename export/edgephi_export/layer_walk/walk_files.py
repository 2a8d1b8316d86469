"""The files of a walk beside the folder that is made: what has been solved, and where the walk goes on.

    walk.json          what the walk is of; another one's files are removed
    sequences.json     of each sequence its adapter, its length, and whether the float model runs along with it
    hidden-NNN.npy     float32 [positions, H]: all sequences before layer NNN, one after the other
    exact-NNN.npy      the same in the float model, of the sequences that it runs along with
    layer-NNN.npz      the stored tensors of layer NNN, as `<name>|values`, `|scales`, `|zero_points`

Each appears whole or not at all, and all others of a layer before the hidden states behind it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
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

_FORMAT = 2  # of these files: those of another one are removed
_IDENTITY, _SEQUENCES = "walk.json", "sequences.json"
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Sequence:
    adapter: Adapter
    length: int
    is_followed: bool


class WalkFiles:
    """The folder of one walk. Use as a context manager; one process at a time.

    Args:
        folder: Made where it is not there.
        identity: Everything that the result depends on, as text.

    Raises:
        ConfigError: Another process is at work in the folder.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self._identity = folder, f"{_FORMAT}\n{identity}"
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
    def followed(self) -> list[Adapter]:
        """Of each sequence that the float model runs along with."""
        return [sequence.adapter for sequence in self._followed]

    @property
    def _followed(self) -> list[_Sequence]:
        return [sequence for sequence in self._sequences if sequence.is_followed]

    @property
    def num_done(self) -> int:
        """Layers that are solved."""
        return max(int(path.stem[-3:]) for path in self.folder.glob("hidden-*.npy"))

    def begin(self, sequences: Sequence[CalibrationSequence], is_followed: Callable[[Adapter], bool]) -> None:
        """Keep the sequences: the hidden states before the first layer.

        Args:
            sequences: What the decoder reads.
            is_followed: Whether the float model is to run along with the sequences of an adapter.
        """
        self._sequences = [_Sequence(one.adapter, len(one), is_followed(one.adapter)) for one in sequences]
        if self._followed:
            self.keep_exact_hidden(0, [one.rows for one in sequences if is_followed(one.adapter)])
        self._keep(_hidden_file(0), [sequence.rows for sequence in sequences])
        text = json.dumps([astuple(sequence) for sequence in self._sequences])
        self._write(_SEQUENCES, lambda stream: stream.write(text.encode()))

    def hidden(self) -> list[Floats]:
        """The hidden states before the first layer that is not solved: float32 [S, H] for each sequence."""
        return self._load(_hidden_file(self.num_done), self._sequences)

    def exact_hidden(self, layer: int) -> list[Floats]:
        """The hidden states before a layer in the float model: float32 [S, H] for each sequence that is followed."""
        return self._load(_exact_file(layer), self._followed)

    def keep_exact_hidden(self, layer: int, hidden: list[Floats]) -> None:
        """Keep the hidden states before a layer in the float model."""
        self._keep(_exact_file(layer), hidden)

    def add(self, layer: int, stored: Mapping[str, StoredRows], hidden: list[Floats]) -> None:
        """Keep a layer's tensors, and the hidden states behind it."""
        arrays = {
            f"{name}|{part}": array
            for name, rows in stored.items()
            for part in ("values", "scales", "zero_points")
            if (array := getattr(rows, part)) is not None
        }
        self._write(_layer_file(layer), lambda stream: np.savez(stream, **arrays))
        self._keep(_hidden_file(layer + 1), hidden)
        (self.folder / _hidden_file(layer)).unlink()
        (self.folder / _exact_file(layer)).unlink(missing_ok=True)

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
            self._sequences = [_Sequence(*fields) for fields in raw]

    def _load(self, name: str, sequences: Sequence[_Sequence]) -> list[Floats]:
        ends = np.cumsum([sequence.length for sequence in sequences])[:-1]
        return np.split(np.load(self.folder / name), ends)

    def _keep(self, name: str, hidden: list[Floats]) -> None:
        self._write(name, lambda stream: np.save(stream, np.concatenate(hidden)))

    def _write(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        with staged_file(self.folder / name) as stream:
            write(stream)


def _hidden_file(layer: int) -> str:
    return f"hidden-{layer:03}.npy"


def _exact_file(layer: int) -> str:
    return f"exact-{layer:03}.npy"


def _layer_file(layer: int) -> str:
    return f"layer-{layer:03}.npz"
