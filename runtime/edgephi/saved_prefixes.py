"""Saved prefixes: what the model read of a conversation, kept in a file for later requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgephi.cache.kv_cache import KVCache
from edgephi.cache.prefix_file import check_prefix_output, read_prefix, write_prefix
from edgephi.loaded_model import LoadedModel
from edgephi.prefill import PrefillOptions
from edgephi.prompt.messages import Messages
from edgephi.prompt.routing import AdapterChoice


class SavedPrefixes(LoadedModel):
    """The requests of `Model` that read a conversation without answering it."""

    def save_prefix(
        self,
        messages: Messages,
        path: str | Path,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
    ) -> int:
        """Read a conversation without answering it, and save what was read for `load_prefix`.

        The file has the size of the keys and values: 256 KiB per position of the real model, 64 in int8.

        Args:
            messages: As in `stream`.
            path: The file. An older saved prefix is replaced.
            images: As in `stream`.
            audio: As in `stream`.
            adapter: As in `stream`.
            max_crops: As in `stream`.

        Returns:
            Positions saved.

        Raises:
            ConfigError: As in `stream`, or the file cannot be written or is no saved prefix.
            CapacityError: As in `stream`.
            ArtifactError: As in `stream`.
        """
        check_prefix_output(Path(path))
        handling = PrefillOptions(adapter=adapter, max_crops=max_crops, control=self._control())
        with self._whole(messages, images, audio, handling) as decoder:
            write_prefix(Path(path), self._bundle, decoder.present())
            return decoder.used

    def visit_cache(
        self,
        messages: Messages,
        visit: Callable[[KVCache], None],
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
    ) -> None:
        """Read a conversation without answering it, and show `visit` its keys and values, which it may not change.

        Other arguments and errors are those of `stream`.
        """
        handling = PrefillOptions(adapter=adapter, control=self._control())
        with self._whole(messages, images, audio, handling) as decoder:
            visit(decoder.present().cache)

    def load_prefix(self, path: str | Path) -> int:
        """Take in what `save_prefix` wrote; later requests that begin with it need not read it again.

        Returns:
            Positions loaded.

        Raises:
            ArtifactError: The file is missing, damaged, or was made with another model folder or the other `kv_cache`.
            CapacityError: It is longer than the context, or larger than `cache_bytes` allows. What was kept stays.
        """
        with self._turn(self._control()) as decoder:
            decoder.adopt(read_prefix(Path(path), self._bundle, decoder.shape))
            return decoder.used

    def cache_prompt(
        self,
        messages: Messages,
        path: str | Path,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        adapter: AdapterChoice = "auto",
        max_crops: int | None = None,
    ) -> int:
        """`load_prefix` if the file exists, otherwise `save_prefix`: what `edgephi run --cache-prompt` does first.

        Returns:
            Positions loaded or saved.

        Raises:
            EdgeError: As these two.
        """
        if Path(path).exists():
            return self.load_prefix(path)
        return self.save_prefix(messages, path, images=images, audio=audio, adapter=adapter, max_crops=max_crops)
