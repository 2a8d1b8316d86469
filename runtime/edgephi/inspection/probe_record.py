"""`cases.json`: prompts, images and audio, and the logits that a model gave for them, to compare with elsewhere.

    {"schema": 1, "machine": {...}, "tolerance_sd": {"same": 0.02, "other": 0.25}, "limits": {...},
     "cases": [{"request": {...}, "prompt_ids": [...], "token_ids": [...], "rows": [...]}], "head": {...}}

Logits are kept as they are. Their differences are judged in standard deviations of the row (sd), so that one tolerance
serves heads of any scale.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, read_json
from edgephi.base.numbers import check_positive
from edgephi.prompt.routing import Mode
from edgephi.prompt.system_turn import with_system

RECORD_NAME = "cases.json"
SCHEMA = 1
#: Logits kept for each token of a reply, largest first.
NUM_TOP = 16
_CODE_STEPS = 16  # codes of the head's row, for each sd


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMachine:
    """Where the record was made.

    Attributes:
        kernels: Architecture and the instruction sets that ONNX Runtime's kernels choose by.
        onnxruntime: Its version.
    """

    kernels: str
    onnxruntime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The largest difference of a logit that is accepted, in sd.

    Attributes:
        same: With the kernels and the ONNX Runtime of the record.
        other: With others.
    """

    same: float = 0.02
    other: float = 0.25

    def __post_init__(self) -> None:
        check_positive(same=self.same, other=self.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of latency and memory; None for no limit.

    Attributes:
        ttft_ms: Milliseconds until the first token of any case.
        step_ms: Milliseconds of one decode step, as a mean over a reply.
        memory_bytes: Most memory of the process.
    """

    ttft_ms: float | None = None
    step_ms: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        given = {"ttft_ms": self.ttft_ms, "step_ms": self.step_ms, "memory_bytes": self.memory_bytes}
        check_positive(**{name: value for name, value in given.items() if value is not None})

    @property
    def need_replies(self) -> bool:
        """Whether replies must be generated to judge them."""
        return self.ttft_ms is not None or self.step_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """An image or audio file of a case, by its name in the folder of the record."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        parts = Path(self.name).parts
        if not parts or Path(self.name).is_absolute() or ".." in parts:
            raise ValueError(f"{self.name!r} is no file in the record's folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRow:
    """The logits of one token of a reply.

    Attributes:
        ids: The tokens with the largest logits, largest first.
        logits: Theirs.
        sd: Standard deviation of the whole row.
    """

    ids: tuple[int, ...]
    logits: tuple[float, ...]
    sd: float

    def __post_init__(self) -> None:
        check_positive(sd=self.sd)
        if len(self.ids) != len(self.logits) or len(self.ids) < 2:
            raise ValueError(f"{len(self.ids)} ids and {len(self.logits)} logits; both must be as many, 2 or more")

    @property
    def margin_sd(self) -> float:
        """How far the likeliest token is before the second."""
        return (self.logits[0] - self.logits[1]) / self.sd


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """Every logit of the first token of the first case, so that each row of the head takes part in one difference.

    Attributes:
        mean: Of the row.
        sd: Of the row.
        codes: int8 [V] in base64: `(logit - mean) / sd` in steps of 1/16, cut at both ends.
    """

    mean: float
    sd: float
    codes: str

    def __post_init__(self) -> None:
        check_positive(sd=self.sd)
        try:
            base64.b64decode(self.codes, validate=True)
        except binascii.Error as error:
            raise ValueError(f"codes are no base64 ({error})") from None

    @classmethod
    def of(cls, logits: NDArray[np.float64]) -> HeadRow:
        """That of a row of logits [V]."""
        mean, sd = float(logits.mean()), float(logits.std())
        codes = np.clip(np.rint((logits - mean) / sd * _CODE_STEPS), -128, 127).astype(np.int8)
        return cls(mean=mean, sd=sd, codes=base64.b64encode(codes.tobytes()).decode())

    def difference_sd(self, logits: NDArray[np.float64]) -> float:
        """The largest difference beyond what rounding to codes explains; infinite for another number of tokens."""
        codes = np.frombuffer(base64.b64decode(self.codes), np.int8).astype(np.float64)
        if len(codes) != len(logits):
            return float("inf")
        given = np.clip((logits - self.mean) / self.sd * _CODE_STEPS, -128, 127)
        return max(0.0, float(np.abs(given - codes).max()) - 0.5) / _CODE_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRequest:
    """The request of a case.

    Attributes:
        mode: Which media there are.
        title: For people.
        prompt: Text of the user turn.
        system: Text of the system turn.
        tools: JSON text of the tools offered in the system turn.
        images: In the order of the prompt.
        audio: In the order of the prompt.
    """

    mode: Mode
    title: str
    prompt: str
    system: str | None = None
    tools: str | None = None
    images: tuple[MediaFile, ...] = ()
    audio: tuple[MediaFile, ...] = ()

    def messages(self) -> list[dict[str, Any]]:
        """The chat."""
        return with_system([{"role": "user", "content": self.prompt}], self.system, self.tools)

    def media_of(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Paths of the images and of the audio."""
        return [folder / one.name for one in self.images], [folder / one.name for one in self.audio]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCase:
    """One request and what the model gave for it.

    Attributes:
        request: The request.
        prompt_ids: Token ids of the prompt, one for each of the media.
        token_ids: Of the reply's beginning; of a short one all, the closing one included.
        rows: One for each of `token_ids`.
    """

    request: CaseRequest
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    rows: tuple[RecordedRow, ...]

    def __post_init__(self) -> None:
        if not self.token_ids or len(self.rows) != len(self.token_ids):
            raise ValueError(f"{len(self.rows)} rows for {len(self.token_ids)} tokens; one for each is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecord:
    """The content of `cases.json`."""

    schema: int
    machine: RecordedMachine
    cases: tuple[ProbeCase, ...]
    head: HeadRow
    tolerance_sd: Tolerance = field(default_factory=Tolerance)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema}, this edgephi reads {SCHEMA}; record it again")
        if not self.cases:
            raise ValueError("there are no cases")


def read_record(folder: Path) -> ProbeRecord:
    """Read `cases.json` and compare the media files beside it with their sha256.

    Raises:
        ArtifactError: The record or a media file is missing, damaged or another.
    """
    path = folder / RECORD_NAME
    record = decode(ProbeRecord, read_json(path, "; make it with `edgephi probe MODEL --record`"), str(path))
    for media in (one for case in record.cases for one in (*case.request.images, *case.request.audio)):
        if media_file(folder, media.name).sha256 != media.sha256:
            raise ArtifactError(f"{folder / media.name}: is not the file of {path}; copy the folder again")
    return record


def media_file(folder: Path, name: str) -> MediaFile:
    """A media file with its sha256.

    Raises:
        ArtifactError: It cannot be read.
    """
    try:
        return MediaFile(name=name, sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest())
    except OSError as error:
        raise ArtifactError(f"{folder / name}: cannot be read ({error.strerror or error})") from error
