"""The decoder's open session: which of its graphs it is, and that it is the one the manifest describes.

ONNX Runtime reads and packs the weights of every branch when it loads a graph, so the graph with adapters costs their
memory even for text. A routed bundle has a second graph without them: text opens that one, the first request that
needs an adapter replaces it, and from then on the graph with adapters serves text too. Both exist a second time where
the folder was made with graphs for int8 keys and values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgephi.base.cancellation import never
from edgephi.base.errors import ArtifactError
from edgephi.base.log import logger
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter, CacheDtype, CacheKind, DecoderInfo
from edgephi.cache.kv_cache import cache_names
from edgephi.ort.huge_pages import HugePages, own_memory, without
from edgephi.ort.memory_budget import check_budget
from edgephi.ort.memory_check import check_graph_fits, weight_bytes, work_bytes
from edgephi.ort.session import DeviceOptions, open_session

_log = logger(__name__)
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "int8": "tensor(int8)"}


class DecoderGraph:
    """The one decoder graph that is open, if any.

    Args:
        bundle: The model folder.
        options: Where it runs.
        kind: Of keys and values; the folder has graphs for it.
        chunk: Positions that it will read at once.

    Attributes:
        session: The session; None before the first `open` and after one that failed.
        takes_adapter: Whether the open graph has the input `adapter`.
        finds_best: Whether it has the output `best` (see forward.py).
        pages: The memory that it took, to be moved while nothing runs.
    """

    def __init__(self, bundle: Bundle, options: DeviceOptions, kind: CacheKind = "float", chunk: int = 0) -> None:
        self._bundle = bundle
        self._info = bundle.manifest.decoder
        self._pair, self._cache_dtype = self._info.pair(kind), self._info.cache_dtype(kind)
        self._options, self._chunk = options, chunk
        self._name: str | None = None
        self._is_first = True
        self.session: Any = None
        self.takes_adapter = self.finds_best = False
        self.pages = HugePages()

    def serves(self, adapter: Adapter) -> bool:
        """Whether the open graph does for a sequence with this adapter."""
        return self._name is not None and self._name in (self._pair.graph, self._needed(adapter != "none"))

    def open(self, *, with_adapters: bool, should_stop: Callable[[], bool] = never) -> None:
        """Open the graph with or without adapters, after freeing the one that is open.

        Nothing else may hold the session: both would be in memory at once. After an error none is open, and the next
        call tries again.

        Args:
            with_adapters: Which.
            should_stop: Asked while it is loaded.

        Raises:
            Stopped: `should_stop` returned True.
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
            CapacityError: This machine has not enough free memory for it.
        """
        self.session = self._name = None
        self.pages.take(())
        name = self._needed(with_adapters)
        path = self._bundle.file(name)
        takes_adapter = self._bundle.manifest.adapters.mode == "routed" and name == self._pair.graph
        ignore, is_first, self._is_first = self._options.ignore_memory, self._is_first, False
        is_host = self._options.opened.is_host
        if is_host:
            check_graph_fits(self._bundle, name, chunk=self._chunk, ignore=ignore, with_vocabulary=is_first)
            needed = weight_bytes(self._bundle, name) + work_bytes(self._bundle.manifest, self._chunk)
            check_budget(path, needed, self._options.memory_bytes)
        before, began_s = own_memory() if is_host else [], time.perf_counter()
        session = open_session(path, self._options, should_stop, self._bundle)
        self.pages.take(without(own_memory(), before) if is_host else ())
        check_session(session, self._info, GraphShape(self._cache_dtype, takes_adapter), str(path))
        self.session, self._name, self.takes_adapter = session, name, takes_adapter
        self.finds_best = "best" in {value.name for value in session.get_outputs()}
        _log.info("opened %s in %.2f s with %d threads", name, time.perf_counter() - began_s, self._options.num_threads)

    def _needed(self, with_adapters: bool) -> str:
        text_graph = self._pair.text_graph
        return self._pair.graph if with_adapters or text_graph is None else text_graph


@dataclass(frozen=True, slots=True)
class GraphShape:
    """The inputs and outputs that a graph of the decoder must have.

    Attributes:
        cache_dtype: Of keys and values.
        takes_adapter: It has the input `adapter`.
        gives_logits: It has the input `logits_rows` and the output `logits`.
    """

    cache_dtype: CacheDtype
    takes_adapter: bool
    gives_logits: bool = True


def check_session(session: Any, info: DecoderInfo, shape: GraphShape, where: str) -> None:
    """Refuse a graph that is not the one the manifest describes.

    Raises:
        ArtifactError: So it is. The message names an input or output.
    """
    _check_inputs(session, info.num_layers, shape, where)
    _check_values(session, info, shape.cache_dtype, where)


def _check_inputs(session: Any, num_layers: int, shape: GraphShape, where: str) -> None:
    """The graph must take exactly the inputs that a pass feeds it."""
    wanted = {"inputs_embeds", "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"}
    wanted |= {"logits_rows"} if shape.gives_logits else set()
    wanted |= set(cache_names(num_layers)) | ({"adapter"} if shape.takes_adapter else set())
    found = {value.name for value in session.get_inputs()}
    if wanted != found:
        odd = sorted(wanted ^ found)[0]
        problem = "is missing" if odd in wanted else "is not known"
        raise ArtifactError(f"{where}: graph input {odd!r} {problem}; export the model again")


def _check_values(session: Any, info: DecoderInfo, cache_dtype: str, where: str) -> None:
    """Types, and sizes that the graph fixes, must be the manifest's: the bindings alias memory of the manifest's."""
    heads = {1: info.num_kv_heads, 3: info.head_size}
    past = cache_names(info.num_layers)
    cache = {name: heads for both in past for name in (both, both.replace("past_key_values", "present"))}
    wanted = cache | {
        "inputs_embeds": {2: info.hidden_size},
        "logits": {2: info.vocab_size},
        "cos_cache": {},
        "sin_cache": {},
    }
    for value in [*session.get_inputs(), *session.get_outputs()]:
        if value.name not in wanted:
            continue
        dtype = cache_dtype if value.name in cache else info.dtype
        if value.type != _TYPES[dtype]:
            raise ArtifactError(
                f"{where}: {value.name!r} is a {value.type}, the manifest says {dtype}; export the model again"
            )
        for axis, size in wanted[value.name].items():
            found = value.shape[axis] if axis < len(value.shape) else None
            if isinstance(found, int) and found != size:
                raise ArtifactError(
                    f"{where}: {value.name!r} has shape {value.shape}, the manifest says {size} at axis {axis}; "
                    "export the model again"
                )
