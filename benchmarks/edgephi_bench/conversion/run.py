"""How long a conversion takes and what it needs: several converters, one checkpoint, one process per run.

Before every run what earlier ones wrote is flushed to the disk, outside the measured time. The page cache is left as
it is: the first run may read the checkpoint from the disk and later ones from memory; `disk_read_bytes` shows which.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi_bench.conversion.converters import Converter
from edgephi_bench.measure.subprocess_run import CommandError, Usage, measure_command

OnLine = Callable[[str], None]
#: Folders are local; a converter that asks the hub about one anyway would have its network measured.
_OFFLINE = {"HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """The checkpoint and the number of conversions to measure.

    Attributes:
        checkpoint: A local folder.
        runs: Conversions per converter.
        work: Where outputs go, in a folder of their own.
        keep: Leave the outputs there; otherwise each is removed as soon as it was looked at.
    """

    checkpoint: Path
    runs: int = 1
    work: Path = Path()
    keep: bool = False

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ConfigError(f"runs is {self.runs}; at least 1 is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One conversion: what it cost and how large its output is."""

    usage: Usage
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All runs of one converter.

    Attributes:
        name: Of the converter.
        version: None where it is not installed.
        command: Of the first run.
        outputs: The folders that were kept.
        samples: One per run, in order; empty where a run failed.
        error: Why there are no samples.
    """

    name: str
    version: str | None = None
    command: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    error: str | None = None

    def median(self, value: Callable[[Sample], float]) -> float:
        """The median of something over the samples, of which there must be one."""
        return statistics.median(value(sample) for sample in self.samples)


def checkpoint_bytes(checkpoint: Path) -> int:
    """Bytes of a checkpoint's weight files, adapter folders included.

    Raises:
        ArtifactError: It is no local folder with safetensors in it.
    """
    sizes = [path.stat().st_size for path in checkpoint.rglob("*.safetensors")]
    if not sizes or not (checkpoint / "config.json").is_file():
        raise ArtifactError(
            f"{checkpoint}: no config.json with *.safetensors there; give a checkpoint's local folder, "
            "or make one: edgephi bench synthetic"
        )
    return sum(sizes)


def measure_conversion(converter: Converter, plan: ConversionPlan, on_line: OnLine | None = None) -> Measurement:
    """Convert `plan.runs` times; a failure is in the result, not raised.

    Args:
        converter: What converts.
        plan: What and how often.
        on_line: Called with what is being done, and with every line that the converter prints.

    Raises:
        ConfigError: The work folder is missing or not writable.
    """
    try:
        version = converter.version()
    except EdgeError as error:
        return Measurement(name=converter.name, error=str(error))
    command: tuple[str, ...] = ()
    try:
        with _work_folder(plan) as folder:
            command = converter.command(plan.checkpoint, _output(folder, converter, 1))
            samples = tuple(_runs(converter, plan, folder, on_line))
            kept = tuple(str(path) for path in sorted(folder.iterdir()))
    except CommandError as error:
        return Measurement(name=converter.name, version=version, command=command, error=str(error))
    return Measurement(name=converter.name, version=version, command=command, outputs=kept, samples=samples)


@contextmanager
def _work_folder(plan: ConversionPlan) -> Iterator[Path]:
    """A new folder; what is in it at the end is removed unless the plan keeps it and all went well."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="edgephi-bench-", dir=plan.work.absolute()))
    except OSError as error:
        raise ConfigError(f"{plan.work}: cannot be written ({error.strerror}); choose another: --work DIR") from error
    keep = False
    try:
        yield folder
        keep = plan.keep
    finally:  # a failed or interrupted run keeps nothing
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _runs(converter: Converter, plan: ConversionPlan, folder: Path, on_line: OnLine | None) -> Iterator[Sample]:
    for number in range(1, plan.runs + 1):
        output = _output(folder, converter, number)
        if on_line:
            on_line(f"{converter.name}: run {number} of {plan.runs}")
        os.sync()
        usage = measure_command(converter.command(plan.checkpoint, output), on_line, _OFFLINE)
        if not output.is_dir():
            raise CommandError(f"{converter.name} ended without an error, but made no {output.name}")
        yield Sample(usage=usage, output_bytes=_folder_bytes(output))
        kept = [_output(folder, converter, i) for i in range(1, number + 1)] if plan.keep else []
        for path in set(folder.iterdir()) - set(kept):  # scratch files may lie beside an output
            shutil.rmtree(path, ignore_errors=True)


def _output(folder: Path, converter: Converter, number: int) -> Path:
    return folder / f"{converter.name}-{number}"


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
