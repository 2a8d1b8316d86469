"""Saved prefixes: keys and values of a conversation in a file, for later requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import Adapter
from edgephi.cache.kv_cache import KVCache
from edgephi.cache.prefix_file import check_prefix_output, read_prefix, write_prefix
from edgephi.loaded_model import LoadedModel
from edgephi.prompt.messages import Messages
from edgephi.request import Request, RequestFields, as_request


class SavedPrefixes(LoadedModel):
    """The requests of `Model` that compute a conversation without answering it."""

    def save_prefix(self, request: Messages | Request, path: str | Path, **fields: Unpack[RequestFields]) -> int:
        """Compute a conversation without answering it, and save its keys and values for `load_prefix`.

        The file has the size of the keys and values: 256 KiB per position of the real model, 64 in int8.

        Args:
            request: As in `stream`.
            path: The file. An older saved prefix is replaced.
            fields: As in `stream`.

        Returns:
            Positions saved.

        Raises:
            ConfigError: As in `stream`, or the file cannot be written or is no saved prefix.
            CapacityError: As in `stream`.
            ArtifactError: As in `stream`.
        """
        wanted = as_request(request, **fields)
        check_prefix_output(Path(path))
        with self._computed(wanted) as decoder:
            write_prefix(Path(path), self._bundle, decoder.sequences.export())
            return decoder.num_cached

    def visit_cache(
        self, request: Messages | Request, visit: Callable[[KVCache], None], **fields: Unpack[RequestFields]
    ) -> None:
        """Compute a conversation without answering it, and call `visit` with its keys and values.

        `visit` may not change them. Other arguments and errors are those of `stream`.
        """
        with self._computed(as_request(request, **fields)) as decoder:
            visit(decoder.sequences.export().cache)

    def visit_rows(
        self,
        request: Messages | Request,
        visit: Callable[[NDArray[np.float32], Adapter], None],
        **fields: Unpack[RequestFields],
    ) -> None:
        """Encode a conversation's media without answering it, and call `visit` with the decoder's input.

        `visit` gets float32 [1, S, H], the embedding of every position, and the adapter that the request asks for.
        Other arguments and errors are those of `stream`.
        """
        control = self._control()
        with self._turn(control) as decoder:
            prompt = self._prefill.prompt(as_request(request, **fields), control.timer)
            ready = self._begin(decoder, prompt, control, fresh=True)
            visit(ready.sequence.rows(0, len(ready.sequence)), ready.route.adapter)

    def load_prefix(self, path: str | Path) -> int:
        """Put what `save_prefix` wrote into the prefix cache: later requests that begin with it need not compute it.

        Returns:
            Positions loaded.

        Raises:
            ArtifactError: The file is missing, damaged, or was made with another model folder or the other `kv_cache`.
            CapacityError: It is longer than the context, or larger than `cache_bytes` allows. Nothing was evicted.
        """
        with self._turn(self._control()) as decoder:
            decoder.sequences.insert(read_prefix(Path(path), self._bundle, decoder.limit.shape))
            return decoder.num_cached

    def cache_prompt(self, request: Messages | Request, path: str | Path, **fields: Unpack[RequestFields]) -> int:
        """`load_prefix` if the file exists, otherwise `save_prefix`: what `edgephi run --cache-prompt` does first.

        Returns:
            Positions loaded or saved.

        Raises:
            EdgeError: As these two.
        """
        return self.load_prefix(path) if Path(path).exists() else self.save_prefix(request, path, **fields)
