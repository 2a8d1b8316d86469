"""The decoder's open session: which of its graphs it is, and that it is the one the manifest describes.

Owns the change from the graph for text to the one with adapters. Knows nothing about sequences, caches or bindings.

ONNX Runtime reads and packs the weights of every branch when it loads a graph, so the graph with adapters costs their
memory even for text. A routed bundle has a second graph without them: text opens that one, the first request that
needs an adapter replaces it, and from then on the graph with adapters serves text too.
"""

from __future__ import annotations

from typing import Any

from edgephi.bundle import Bundle
from edgephi.errors import ArtifactError
from edgephi.kv_cache import cache_names
from edgephi.manifest import AdapterName, DecoderInfo
from edgephi.session import DeviceOptions, open_session

_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)"}


class DecoderGraph:
    """The one decoder graph that is open, if any.

    Attributes:
        session: The session; None before the first `open` and after one that failed.
        takes_adapter: Whether the open graph has the input `adapter`.
    """

    def __init__(self, bundle: Bundle, options: DeviceOptions) -> None:
        self._bundle = bundle
        self._info = bundle.manifest.decoder
        self._options = options
        self._name: str | None = None
        self.session: Any = None
        self.takes_adapter = False

    def serves(self, adapter: AdapterName) -> bool:
        """Whether the open graph does for a sequence with this adapter."""
        return self._name is not None and self._name in (self._info.graph, self._needed(adapter != "none"))

    def open(self, *, with_adapters: bool) -> None:
        """Open the graph with or without adapters, after freeing the one that is open.

        Nothing else may hold the session: both would be in memory at once. After an error none is open, and the next
        call tries again.

        Raises:
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        """
        self.session = self._name = None
        name = self._needed(with_adapters)
        path = self._bundle.file(name)
        takes_adapter = self._bundle.manifest.adapters.mode == "routed" and name == self._info.graph
        session = open_session(path, self._options)
        _check_inputs(session, self._info.num_layers, takes_adapter, str(path))
        _check_values(session, self._info, str(path))
        self.session, self._name, self.takes_adapter = session, name, takes_adapter

    def _needed(self, with_adapters: bool) -> str:
        text_graph = self._info.text_graph
        return self._info.graph if with_adapters or text_graph is None else text_graph


def _check_inputs(session: Any, num_layers: int, takes_adapter: bool, where: str) -> None:
    """The graph must take exactly the inputs that a pass feeds it."""
    wanted = {"inputs_embeds", "logits_rows", "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"}
    wanted |= set(cache_names(num_layers)) | ({"adapter"} if takes_adapter else set())
    found = {value.name for value in session.get_inputs()}
    if wanted != found:
        odd = sorted(wanted ^ found)[0]
        problem = "is missing" if odd in wanted else "is not known"
        raise ArtifactError(f"{where}: graph input {odd!r} {problem}; export the model again")


def _check_values(session: Any, info: DecoderInfo, where: str) -> None:
    """Types, and sizes that the graph fixes, must be the manifest's: the bindings alias memory of the manifest's."""
    heads = {1: info.num_kv_heads, 3: info.head_size}
    cache = cache_names(info.num_layers)
    wanted = {name: heads for past in cache for name in (past, past.replace("past_key_values", "present"))}
    wanted |= {"inputs_embeds": {2: info.hidden_size}, "logits": {2: info.vocab_size}, "cos_cache": {}, "sin_cache": {}}
    for value in [*session.get_inputs(), *session.get_outputs()]:
        if value.name not in wanted:
            continue
        if value.type != _TYPES[info.dtype]:
            raise ArtifactError(
                f"{where}: {value.name!r} is a {value.type}, the manifest says {info.dtype}; export the model again"
            )
        for axis, size in wanted[value.name].items():
            found = value.shape[axis] if axis < len(value.shape) else None
            if isinstance(found, int) and found != size:
                raise ArtifactError(
                    f"{where}: {value.name!r} has shape {value.shape}, the manifest says {size} at axis {axis}; "
                    "export the model again"
                )
