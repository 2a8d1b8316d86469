"""Opening ONNX Runtime sessions on the chosen device.

Owns the device options and the one place that imports ONNX Runtime. Knows nothing about what a graph computes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephi.errors import ArtifactError, ConfigError, EdgeError

if TYPE_CHECKING:
    import onnxruntime as ort

DEVICES = ("cpu",)
_LOG_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Where graphs run.

    Attributes:
        device: `cpu`.
        threads: Threads of each session; None takes every core this process may use.
    """

    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"device is {self.device!r}; use {' or '.join(map(repr, DEVICES))}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}; use 1 or more, or None for every core")

    @property
    def num_threads(self) -> int:
        """Threads a session gets."""
        return self.threads or len(os.sched_getaffinity(0))


def runtime() -> Any:
    """The `onnxruntime` module, imported on first use with its telemetry off.

    Raises:
        EdgeError: It is not installed. The message is the pip command.
    """
    # Read once by the library when it loads; a device at a customer's must not call home.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - optional, and heavy
    except ImportError as error:
        raise EdgeError('ONNX Runtime is not installed; run: pip install "edgephi[cpu]"') from error
    return onnxruntime


def open_session(path: Path, options: DeviceOptions) -> ort.InferenceSession:
    """Load a graph.

    Args:
        path: The ONNX file. External data is mapped from beside it.
        options: Where it runs.

    Raises:
        ArtifactError: The file is missing, damaged, or uses an operator this ONNX Runtime lacks.
        EdgeError: ONNX Runtime is not installed.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: missing; export the model again")
    ort = runtime()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.num_threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_ERRORS_ONLY
    try:
        return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # the library raises a dozen unrelated classes for a bad file
        reason = str(error).strip().splitlines()
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot load it ({reason[0] if reason else type(error).__name__}); "
            "export the model again"
        ) from error
