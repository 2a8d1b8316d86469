"""Opening ONNX Runtime sessions on the chosen device."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgephi.base.cancellation import never
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError
from edgephi.base.hardware import num_physical_cores
from edgephi.base.log import logger
from edgephi.base.numbers import is_utf8, is_whole
from edgephi.base.out_of_memory import is_out_of_memory
from edgephi.bundle.bundle import reading
from edgephi.bundle.folder_files import PlainFiles
from edgephi.bundle.tensor_index import TensorIndex
from edgephi.ort.cancellable_run import cancellable
from edgephi.ort.device import Device, MemoryNeed
from edgephi.ort.device_names import DEVICE_CHOICES, DeviceChoice
from edgephi.ort.devices import device_named
from edgephi.ort.library import first_line, running, runtime
from edgephi.ort.mapped_weights import MappedWeights
from edgephi.ort.thread_pool import Pool, share_threads

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["DeviceOptions", "open_session", "running", "runtime", "share_threads"]

_log = logger(__name__)
#: How a session holds its weights and its activations.
WeightForm = Literal["resident", "packed", "mapped"]
_LOG_FATAL_ONLY = 4  # errors are raised as well; they would be said twice
_MAX_THREADS = 1024
#: Where ONNX Runtime looks for weight files that it was not given, and whether those are there that it was.
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Where graphs run.

    Attributes:
        device: `cpu`, `webgpu` or `cuda`; `auto` until it is chosen for a folder.
        threads: Threads of each session; None takes the physical cores this process may use.
        ignore_memory: Load what does not seem to fit.
        memory_bytes: What this process may hold; None for no limit.
    """

    device: DeviceChoice = "cpu"
    threads: int | None = None
    ignore_memory: bool = False
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICE_CHOICES:
            *others, last = map(repr, DEVICE_CHOICES)
            raise ConfigError(f"device is {self.device!r}; use {', '.join(others)} or {last}")
        if self.threads is not None and not (is_whole(self.threads) and 1 <= self.threads <= _MAX_THREADS):
            raise ConfigError(
                f"threads is {self.threads!r}; use 1 to {_MAX_THREADS:,}, or None for every physical core"
            )

    @property
    def opened(self) -> Device:
        """The device, whose library is loaded at its first use in this process.

        Raises:
            ConfigError: This machine has no such device, or a package is missing.
            ValueError: It is `auto`, and was not chosen yet.
        """
        if self.device == "auto":
            raise ValueError("the device was not chosen yet")
        return device_named(self.device)

    @property
    def num_threads(self) -> int:
        """Threads a session gets."""
        if self.threads is not None:
            return self.threads
        return num_physical_cores()


class GraphFolder(Protocol):
    """A folder of graphs and their weights, such as a `Bundle`."""

    @property
    def files(self) -> PlainFiles:
        """Its files."""

    def tensor_index(self) -> TensorIndex:
        """The places of the graphs' constants."""


def open_session(
    path: Path,
    options: DeviceOptions,
    should_stop: Callable[[], bool] = never,
    bundle: GraphFolder | None = None,
    *,
    form: WeightForm = "resident",
) -> ort.InferenceSession:
    """Load a graph.

    Args:
        path: The ONNX file.
        options: Where it runs.
        should_stop: Asked while it is loaded.
        bundle: The model folder that it is a graph of, whose weight files stay mapped while the session lives; None
            for a graph outside any, whose files ONNX Runtime opens by name.
        form: `resident`, or for passes of many rows, between which no activations are kept: `packed`, or `mapped` to
            read the weights from the mapped files at every run, which takes longer for each run and less memory.

    Raises:
        Stopped: `should_stop` returned True.
        ArtifactError: The file is missing, damaged, or uses an operator this ONNX Runtime lacks.
        ConfigError: The process shares a pool of another number of threads, or the path is not UTF-8.
        CapacityError: This machine has not enough free memory for it.
        EdgeError: ONNX Runtime is not installed.
    """
    if not is_utf8(path):
        raise ConfigError(f"{os.fsencode(path)!r}: not UTF-8, so ONNX Runtime cannot open it; rename the folder")
    files = PlainFiles(path.parent) if bundle is None else bundle.files
    ort, device = runtime(), options.opened
    settings = _settings(ort, options.num_threads)
    if form == "mapped":
        settings.add_session_config_entry("session.disable_prepacking", "1")
    settings.enable_cpu_mem_arena = form == "resident"
    with reading(path):
        try:
            graph = files.read(path.name)
        except (FileNotFoundError, IsADirectoryError):
            raise ArtifactError(f"{path}: missing; export the model again") from None
        weights = MappedWeights(files, () if bundle is None else bundle.tensor_index().constants_of(path.name))
    providers = device.configure(settings, graph)
    sizes = [array.nbytes for array in weights.arrays.values()]
    need = MemoryNeed(what=str(path), num_bytes=sum(sizes), largest_bytes=max(sizes, default=0))
    if not options.ignore_memory:
        device.check_room(need)
    values = _add_weights(ort, settings, weights) if device.is_host else {}
    with weights.giving_back(), files.names_beside() as folder:
        settings.add_session_config_entry(_FOLDER_KEY, str(folder))
        if folder != files.folder or not device.is_host:
            _add_files(settings, weights)
        session = cancellable(
            lambda: device.open(lambda: _load(ort, path, graph, settings, providers), need.num_bytes),
            lambda: settings.set_load_cancellation_flag(True),
            should_stop,
        )
    session.edgephi_weights = weights, values  # it reads them by address as long as it lives
    if not device.is_host:
        _log.info("%s on %s: %s", path.name, device.name, session.assignment)
    return session


def _add_weights(ort: Any, settings: Any, weights: MappedWeights) -> dict[str, Any]:
    """Give ONNX Runtime the constants by address; the values must live as long as the session."""
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.arrays.items()}
    for name, value in values.items():
        settings.add_initializer(name, value)
    return values


def _add_files(settings: Any, weights: MappedWeights) -> None:
    """Give ONNX Runtime whole files as well: folding constants, it reads tensors from there that it was given already.

    It copies them, so this is for a folder that was replaced, whose files no path leads to.
    """
    arrays = [np.frombuffer(mapped, np.uint8) for mapped in weights.maps.values()]
    settings.add_external_initializers_from_files_in_memory([*weights.maps], arrays, [array.nbytes for array in arrays])


def _load(ort: Any, path: Path, graph: bytes, settings: Any, providers: list[Any] | None) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(graph, settings, providers=providers)
    except MemoryError:
        raise
    except Exception as error:  # the library raises a dozen unrelated classes for a bad file
        if is_out_of_memory(error):
            raise CapacityError(
                f"{path}: not enough free memory to load it; free some, or export the model with a smaller recipe"
            ) from error
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot load it ({first_line(error)}); export the model again"
        ) from error


def _settings(ort: Any, num_threads: int) -> Any:
    """How sessions run: idle threads stop spinning by themselves some 50 ms after the last run."""
    settings = ort.SessionOptions()
    settings.log_severity_level = _LOG_FATAL_ONLY
    # A plan of all activations per input shape holds more memory than the arena alone (80 MB for a chunk of 512).
    settings.enable_mem_pattern = False
    # All threads pack weights at once. ONNX Runtime then keeps its own mappings whole until the last is packed, twice
    # the memory; ours give their pages back (see mapped_weights.py).
    settings.add_session_config_entry("session.prepack.enable_parallel", "1")
    if Pool.wanted:
        _make_pool(ort, num_threads)
        settings.use_per_session_threads = False
    else:
        settings.intra_op_num_threads = num_threads
        settings.inter_op_num_threads = 1
    return settings


def _make_pool(ort: Any, num_threads: int) -> None:
    """The process's pool, made at the first session. Raises ConfigError if it has another number of threads."""
    if Pool.num_threads is None:
        ort.set_global_thread_pool_sizes(num_threads, 1)
        Pool.num_threads = num_threads
    if Pool.num_threads != num_threads:
        raise ConfigError(
            f"threads is {num_threads}, but the sessions of this process share a pool of {Pool.num_threads}; "
            "use that number, or another process"
        )
