"""Programs that turn a checkpoint into a folder for a runtime: `edgephi export` and its peer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgephi.base.errors import EdgeError
from edgephi.base.version import package_version

GENAI = "onnxruntime-genai"
#: Tuned as a user who wants speed would: a head that works on one row only, one table for embedding and head, large
#: blocks, and int8 arithmetic between them.
GENAI_TUNING = ("block_size=128", "prune_lm_head=true", "shared_embeddings=true", "accuracy_level=4")
_VERSION_SECONDS = 60
_VERSION_CODE = f"from importlib.metadata import version; print(version({GENAI!r}))"


class Converter(Protocol):
    """One way to convert a checkpoint."""

    @property
    def name(self) -> str:
        """Its name in reports."""

    def version(self) -> str:
        """The installed version.

        Raises:
            EdgeError: It is not installed; the message says where and how.
        """

    def command(self, checkpoint: Path, output: Path) -> tuple[str, ...]:
        """Program and arguments that make the folder `output`; beside it, scratch files may appear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgephiExport:
    """`edgephi export` of this installation.

    Attributes:
        options: Further arguments, given as they are.
    """

    options: tuple[str, ...] = ()
    name: str = field(default="edgephi", init=False)

    def version(self) -> str:
        """See `Converter`."""
        return package_version()

    def command(self, checkpoint: Path, output: Path) -> tuple[str, ...]:
        """See `Converter`."""
        return (sys.executable, "-m", "edgephi", "export", str(checkpoint), "-o", str(output), *self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiBuilder:
    """The model builder of onnxruntime-genai, int4 for the CPU. Converts text models only.

    Attributes:
        python: Interpreter of the environment that has it: the builder needs another transformers than our tests.
        tuning: Its `--extra_options`.
    """

    python: str = sys.executable
    tuning: tuple[str, ...] = GENAI_TUNING
    name: str = field(default=GENAI, init=False)

    def version(self) -> str:
        """See `Converter`.

        Raises:
            EdgeError: Its interpreter cannot be run, or has no onnxruntime-genai.
        """
        try:
            done = subprocess.run(
                [self.python, "-c", _VERSION_CODE],
                capture_output=True,
                text=True,
                check=False,
                timeout=_VERSION_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgeError(f"{self.python} cannot be run ({error}); name an interpreter: --genai-python") from error
        if done.returncode:
            raise EdgeError(
                f"{self.python} has no {GENAI}; make an environment with {GENAI}, torch, transformers 5 and onnx-ir, "
                "and name its interpreter: --genai-python"
            )
        return done.stdout.strip()

    def command(self, checkpoint: Path, output: Path) -> tuple[str, ...]:
        """See `Converter`."""
        return (
            self.python, "-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", str(output),
            "-p", "int4", "-e", "cpu", "-c", str(output.with_name(f"{output.name}-cache")),
            "--extra_options", *self.tuning,
        )  # fmt: skip
