"""`Runtime`: a library that loads folders of one layout; each is a file beside this one.

A runtime is given the token ids and the features of a prompt, as edgephi's own encoders and decoder read them, so that
what is compared is the folder: graphs, weights, caches and adapters, and not how a library cuts text or images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.features import AudioFeatures
from edgephi.bundle.manifest import TokenInfo
from edgephi.images.features import ImageFeatures
from edgephi_export.options import LayoutName


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuntimeRequest:
    """A prompt.

    Attributes:
        token_ids: One slot per image and recording, by the model's own ids.
        images: In the order of their slots.
        audio: Likewise.
        tokens: The model's ids.
        max_new_tokens: The longest reply.
    """

    token_ids: tuple[int, ...]
    images: tuple[ImageFeatures, ...]
    audio: tuple[AudioFeatures, ...]
    tokens: TokenInfo
    max_new_tokens: int

    @property
    def num_positions(self) -> int:
        """Positions that the prompt takes: a slot takes as many as its image or recording has rows."""
        rows = sum(image.num_rows - 1 for image in self.images) + sum(one.num_rows - 1 for one in self.audio)
        return len(self.token_ids) + rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuntimeReply:
    """A greedy reply.

    Attributes:
        logits: float32 [V], of the first new token.
        token_ids: The reply, with the token that ended it.
    """

    logits: NDArray[np.float32]
    token_ids: tuple[int, ...]


class LoadedFolder(Protocol):
    """A folder that a runtime has loaded."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it."""

    def reply(self, request: RuntimeRequest) -> RuntimeReply:
        """Answer greedily."""


def expanded_ids(
    token_ids: Sequence[int] | NDArray[np.int64],
    images: Sequence[ImageFeatures],
    audio: Sequence[AudioFeatures],
    tokens: TokenInfo,
) -> list[int]:
    """A prompt with each slot repeated once per row of its image or recording; arguments as in `RuntimeRequest`."""
    counts = {
        tokens.image: iter([image.num_rows for image in images]),
        tokens.audio: iter([recording.num_rows for recording in audio]),
    }
    return [id_ for id_ in map(int, token_ids) for _ in range(next(counts[id_], 1) if id_ in counts else 1)]


def one_line(error: Exception) -> str:
    """The message of a library's error, without its line breaks."""
    return " ".join(str(error).split())


class Runtime(Protocol):
    """A library that loads folders."""

    @property
    def layout(self) -> LayoutName:
        """The layout that it loads."""

    def version(self) -> str:
        """The version that is installed.

        Raises:
            EdgeError: None is. The message says what to run.
        """

    def load(self, folder: Path) -> LoadedFolder:
        """Load a folder.

        Raises:
            ArtifactError: The library refuses it.
        """
