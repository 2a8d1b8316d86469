"""The decoder's graph for prefill: long stretches of a prompt go through it, over the same cache, and get no logits.

    a stretch   the positions that are not cached, up to the first whose logits are asked for
    threshold   positions from which on a whole stretch takes this graph; shorter ones take the decoder's own

Which graph a position takes follows from the request, the cache and the threshold alone, not from the time a pass took.
The weights stay in the mapped files, where ONNX Runtime packs a matrix at each call and the system may drop the pages,
unless the user allows so much memory that they can be packed once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edgephi.base.cancellation import never
from edgephi.base.errors import CapacityError
from edgephi.base.free_memory import headroom
from edgephi.base.log import logger
from edgephi.bundle.bundle import Bundle, reading
from edgephi.bundle.manifest import CacheKind
from edgephi.decoder.graph import GraphShape, check_session
from edgephi.decoder.prefill_weights import PrefillWeights, prefill_weights
from edgephi.model_options import PREFILL_CHUNKS, ModelOptions
from edgephi.ort.memory_budget import check_budget
from edgephi.ort.memory_check import work_bytes
from edgephi.ort.session import WeightForm, open_session

_log = logger(__name__)
#: Less free memory than this, and packed weights are given up between requests.
_SHORT_BYTES = 256 << 20


class PrefillGraph:
    """The graph for prefill of a folder, open from the first stretch that is long enough.

    Args:
        bundle: The model folder.
        options: Where it runs.
        kind: Of keys and values.

    Attributes:
        session: The session; None while it is closed.
        takes_adapter: Whether it has the input `adapter`.
        chunk: Most positions of one pass.
    """

    def __init__(self, bundle: Bundle, options: ModelOptions, kind: CacheKind) -> None:
        info = bundle.manifest.decoder
        self._bundle, self._options = bundle, options
        self._weights = prefill_weights(bundle, options, kind)
        self.chunk = int(PREFILL_CHUNKS * options.chunk)
        self._is_refused = False
        self._form: WeightForm = "mapped"
        self.session: Any = None
        self.takes_adapter = bundle.manifest.adapters.mode == "routed"
        self._shape = GraphShape(info.cache_dtype(kind), self.takes_adapter, gives_logits=False)

    @property
    def exists(self) -> bool:
        """Whether the folder has one that the device and the options take."""
        return self._weights is not None

    @property
    def is_packed(self) -> bool:
        """Whether it is open with packed weights."""
        return self.session is not None and self._form == "packed"

    def open(self, stretch: int, should_stop: Callable[[], bool] = never) -> bool:
        """Open it, unless it is open; False where this machine has no memory for it, which is logged once.

        Args:
            stretch: Positions that it may read; see `PrefillWeights.prepare`.
            should_stop: Asked meanwhile.

        Raises:
            Stopped: `should_stop` returned True.
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        """
        weights = self._weights
        if self.session is not None:
            return True
        if weights is None or not weights.prepare(stretch, should_stop):
            return False
        path = self._bundle.file(weights.graph)
        try:
            self._form = self._fitting(weights)
            with reading(path):
                folder = weights.open()
            session = open_session(path, self._options.device_options, should_stop, folder, form=self._form)
        except CapacityError as error:
            if not self._is_refused:
                _log.warning("prompts are read by the decoder's own graph, which is slower: %s", error)
            self._is_refused = True
            return False
        check_session(session, self._bundle.manifest.decoder, self._shape, str(path))
        self.session = session
        _log.info("opened %s, its weights %s", weights.graph, self._form)
        return True

    def _fitting(self, weights: PrefillWeights) -> WeightForm:
        """The form of the weights that memory allows. Raises CapacityError where it allows none."""
        options, path = self._options, self._bundle.file(weights.graph)
        weights.check_memory(self.chunk)
        if options.memory_bytes is None:
            return "mapped"
        work = work_bytes(self._bundle.manifest, self.chunk)
        check_budget(path, work, options.memory_bytes)
        with suppress(CapacityError):
            needed = weights.packed_bytes() + work + options.cache_bytes
            check_budget(path, needed, options.memory_bytes)
            return "packed"
        return "mapped"

    def rest(self) -> None:
        """Give the pages of mapped weights back to the system, which reads them again from the file when needed."""
        if self.session is not None and not self.is_packed:
            self.session.edgephi_weights[0].give_back()

    @property
    def is_pressed(self) -> bool:
        """Whether its packed weights hold memory that this machine is short of."""
        return self.is_packed and not self._options.ignore_memory and headroom().free_bytes < _SHORT_BYTES

    def close(self) -> None:
        """Free the session; the next long stretch opens it again."""
        self.session = None
