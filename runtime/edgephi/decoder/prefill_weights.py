"""The weights of the graph for prefill: stored in the model folder, or derived from the decoder's on this machine.

Deriving writes gigabytes once, so it is not done for one short prompt: positions of prompts that the graph would have
read are counted in the user's cache, and the weights are derived before the prompt with which the count pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.free_memory import headroom, is_ignored
from edgephi.base.log import logger
from edgephi.base.measurements import MeasurementFile
from edgephi.base.units import human_bytes
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import CacheKind
from edgephi.decoder.derived_folder import DerivedFolder
from edgephi.model_options import ModelOptions
from edgephi.ort.memory_check import check_graph_fits, weight_bytes, work_bytes
from edgephi.ort.session import GraphFolder

_log = logger(__name__)
#: Positions after which deriving has paid for itself: on two cores of Zen 4 it took 12 to 24 CPU seconds for Phi-4-mini
#: and saves 10 ms a position. A slower processor takes longer for both. One large image is as many.
PAYS_FROM = 2048
_READ = MeasurementFile("prefill-positions.json")


class PrefillWeights(Protocol):
    """The weights of one graph for prefill."""

    @property
    def graph(self) -> str:
        """The graph's file."""

    def prepare(self, stretch: int, should_stop: Callable[[], bool]) -> bool:
        """Before so many positions that it may read: whether the weights are there. Raises Stopped."""

    def check_memory(self, chunk: int) -> None:
        """Refuse them where this machine has no memory for a pass of so many positions. Raises CapacityError."""

    def packed_bytes(self) -> int:
        """Memory of the packed weights."""

    def open(self) -> GraphFolder:
        """The graph's constants, for a session."""


def prefill_weights(bundle: Bundle, options: ModelOptions, kind: CacheKind) -> PrefillWeights | None:
    """Those of a folder; None where it has no graph for prefill, or the options or the device allow none.

    Raises:
        ArtifactError: The index of what is to be derived is damaged.
    """
    # Its formats are the CPU's: another device reads long prompts by the decoder's own graph.
    if options.prefill == "off" or not options.device_options.opened.is_host:
        return None
    stored, derived = bundle.manifest.decoder.pair(kind).prefill_graph, bundle.manifest.derived_prefill
    if stored is not None:
        return _Stored(bundle, options, stored)
    if derived is None:
        return None
    graph = derived.graph if kind == "float" or derived.int8_graph is None else derived.int8_graph
    return _Derived(bundle, options, graph)


class _Stored:
    """In the folder."""

    def __init__(self, bundle: Bundle, options: ModelOptions, graph: str) -> None:
        self.graph = graph
        self._bundle, self._options = bundle, options

    def prepare(self, stretch: int, should_stop: Callable[[], bool]) -> bool:  # noqa: ARG002 - they are there
        return True

    def check_memory(self, chunk: int) -> None:
        check_graph_fits(self._bundle, self.graph, chunk=chunk, ignore=self._options.ignore_memory)

    def packed_bytes(self) -> int:
        return weight_bytes(self._bundle, self.graph)

    def open(self) -> GraphFolder:
        return self._bundle


class _Derived:
    """In the user's cache, as soon as it has paid to derive them."""

    def __init__(self, bundle: Bundle, options: ModelOptions, graph: str) -> None:
        self.graph = graph
        self._bundle, self._options = bundle, options
        self._folder = DerivedFolder(bundle)
        self._is_given_up = False

    def prepare(self, stretch: int, should_stop: Callable[[], bool]) -> bool:
        if self._folder.is_there:
            return True
        if self._options.prefill == "stored" or self._is_given_up or not self._has_paid(stretch):
            return False
        try:
            return self._derive(should_stop)
        except EdgeError as error:
            _log.warning("weights for long prompts are not derived, so those are read more slowly: %s", error)
            self._is_given_up = True
            return False

    def _has_paid(self, stretch: int) -> bool:
        """Count a stretch, where no threshold is stated; whether all counted are enough."""
        if self._options.prefill_threshold is not None:
            return True
        key = self._folder.path.name
        count = (_READ.get(key) or 0) + stretch
        _READ.put(key, count)
        return count >= PAYS_FROM

    def _derive(self, should_stop: Callable[[], bool]) -> bool:
        self.check_memory(int(self._options.chunk))
        _log.warning(
            "deriving %s of weights into %s, once: long prompts are then read faster (`edgephi prepare --delete` "
            "removes them, --prefill stored derives none)",
            human_bytes(self._folder.num_bytes, 2),
            self._folder.path,
        )
        return self._folder.make(threads=self._options.device_options.num_threads, should_stop=should_stop)

    def check_memory(self, chunk: int) -> None:
        needed = self._folder.num_bytes + work_bytes(self._bundle.manifest, chunk)
        if self._options.ignore_memory or is_ignored():
            return
        if short := headroom().missing(needed):
            raise CapacityError(
                f"{self._folder.path}: long prompts read {human_bytes(needed, 2)} of derived weights from memory, but "
                f"{short}; close other programs, or use --prefill off"
            )

    def packed_bytes(self) -> int:
        return self._folder.num_bytes

    def open(self) -> GraphFolder:
        return self._folder.open()
