"""Typed access to JSON objects that other programs wrote: config.json and its like.

Unlike `decode` of edgephi.base.json_file it lets unknown keys pass: these files carry many that mean nothing here. A
null is as good as no key, as to transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import as_type, read_json

T = TypeVar("T", int, float, str, bool)

#: Sizes are multiplied and looped over; these are far over any real model's and keep a damaged file from hanging.
_MAX_SIZE, _MAX_COUNT = 2**31 - 1, 10_000


class Fields:
    """One JSON object and where it stands, for messages such as `config.json: vision_config.patch_size`."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    @classmethod
    def load(cls, path: Path) -> Fields:
        """Read a JSON file.

        Raises:
            ArtifactError: The file is missing, unreadable, not JSON, or not an object.
        """
        try:
            raw = read_json(path)
        except ArtifactError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ArtifactError(f"{path}: missing from the checkpoint") from None
            raise
        if not isinstance(raw, dict):
            raise ArtifactError(f"{path}: expected a JSON object")
        return cls(raw, str(path))

    def section(self, key: str, default: dict[str, Any] | None = None) -> Fields:
        """The object under `key`; `default` when it is absent or null.

        Raises:
            ArtifactError: It is not an object, or it is absent and has no default.
        """
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, dict):
            raise ArtifactError(f"{self.where}: {key} is {value!r}; expected an object")
        return Fields(value, f"{self.where}: {key}")

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value under `key`; integers are accepted for floats.

        Raises:
            ArtifactError: Absent without a default, or of another type.
        """
        value = self._value(key, default)
        try:
            return as_type(kind, value)
        except TypeError as error:
            raise ArtifactError(f"{self.where}: {key} is {value!r}; {error}") from None
        except ValueError as error:
            raise ArtifactError(f"{self.where}: {key} is {error}") from None

    def _value(self, key: str, default: object) -> Any:
        value = self.values.get(key)
        return default if value is None else value

    def positive(self, key: str, default: int | None = None, *, limit: int = _MAX_SIZE) -> int:
        """A whole number of 1 to `limit`.

        Raises:
            ArtifactError: Absent without a default, not a whole number, or out of range.
        """
        value = self.get(key, int, default)
        if value < 1:
            raise ArtifactError(f"{self.where}: {key} is {value}; expected at least 1")
        if value > limit:
            raise ArtifactError(f"{self.where}: {key} is {value}; expected at most {limit}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """A number of layers or blocks, 1 to 10,000.

        Raises:
            ArtifactError: As for `positive`.
        """
        return self.positive(key, default, limit=_MAX_COUNT)

    def positive_float(self, key: str, default: float | None = None) -> float:
        """A finite number over 0.

        Raises:
            ArtifactError: Absent without a default, not a number, or 0 or less.
        """
        value = self.get(key, float, default)
        if value <= 0:
            raise ArtifactError(f"{self.where}: {key} is {value}; expected a number over 0")
        return value

    def floats(self, key: str) -> tuple[float, ...]:
        """A list of numbers.

        Raises:
            ArtifactError: Absent or something else.
        """
        value = self.values.get(key)
        try:
            return tuple(as_type(float, item) for item in as_type(list, value))
        except TypeError:
            raise ArtifactError(f"{self.where}: {key} must be a list of numbers") from None
        except ValueError as error:
            raise ArtifactError(f"{self.where}: {key} is {error}") from None

    def token_ids(self, key: str) -> tuple[int, ...]:
        """An id or a list of ids; absent or null is no id.

        Raises:
            ArtifactError: Something else.
        """
        value = self.values.get(key)
        items = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(item) is int and item >= 0 for item in items):
            raise ArtifactError(f"{self.where}: {key} is {value!r}; expected token ids")
        return tuple(items)

    def token_id(self, key: str) -> int | None:
        """One id, bare or as a list; None when absent or null.

        Raises:
            ArtifactError: More than one, or something else.
        """
        ids = self.token_ids(key)
        if len(ids) > 1:
            raise ArtifactError(f"{self.where}: {key} is {list(ids)}; expected one token id")
        return ids[0] if ids else None

    def require(self, key: str, allowed: object, default: object) -> None:
        """Check a setting that this exporter supports with one value only.

        Raises:
            ArtifactError: The value is another one.
        """
        value = self._value(key, default)
        if value != allowed or isinstance(value, bool) != isinstance(allowed, bool):
            raise ArtifactError(f"{self.where}: {key} is {value!r}; only {allowed!r} is supported")
