"""Numbers that were measured on this machine, kept for later processes in a file of the user's cache folder.

It does not know what they mean. Where the file cannot be read or written, every process measures for itself.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from edgephi.base.errors import EdgeError
from edgephi.base.json_file import decode, read_json
from edgephi.base.output_file import staged_file
from edgephi.base.user_cache import user_cache

_MOST_ENTRIES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    key: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurements:
    """The whole content of a file, the latest measurement last."""

    measurements: tuple[_Measurement, ...]


def measurement_key(*facts: str) -> str:
    """Names a measurement that holds for these facts alone, in their order."""
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class MeasurementFile:
    """One file of numbers by key.

    Args:
        name: Of the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, key: str) -> float | None:
        """What was measured before; None if nothing was, or the file cannot be used."""
        return next((one.value for one in self._read() if one.key == key), None)

    def put(self, key: str, value: float) -> None:
        """Keep a number for later processes; nothing where the folder cannot be written."""
        others = [one for one in self._read() if one.key != key][1 - _MOST_ENTRIES :]
        content = _Measurements(measurements=(*others, _Measurement(key=key, value=value)))
        path = self._path()
        with suppress(OSError, EdgeError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged_file(path) as stream:
                stream.write(json.dumps(asdict(content), indent=1).encode() + b"\n")

    def _read(self) -> tuple[_Measurement, ...]:
        path = self._path()
        try:
            return decode(_Measurements, read_json(path), str(path)).measurements
        except (OSError, EdgeError):
            return ()

    def _path(self) -> Path:
        return user_cache() / self._name
