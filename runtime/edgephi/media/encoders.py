"""The two encoders: an image or audio becomes embedding rows for the decoder.

Views are fed to `vision.onnx` and windows to `speech.onnx`, and their outputs are put together here.

    A embedding rows | H hidden size of the decoder | g rows along one side of a pooled view
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.log_mel import num_audio_rows
from edgephi.base.cancellation import ask, never
from edgephi.base.errors import ConfigError
from edgephi.base.log import logger
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import PROJECTION_IDS, EncoderName, SpeechInfo, VisionInfo
from edgephi.images.crops import ImageViews, position_ids, useful_grid
from edgephi.images.repeated_views import first_equal_views
from edgephi.ort.cancellable_run import cancellable_run
from edgephi.ort.library import running, runtime

_log = logger(__name__)


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that encoders use."""

    def run(
        self, output_names: list[str], input_feed: Mapping[str, NDArray[Any]], run_options: Any = None
    ) -> list[NDArray[Any]]:
        """Compute the named outputs."""
        ...


#: Opens a graph file of the bundle.
OpenSession = Callable[[Path], Session]


#: Features of an input's first views or windows, in order.
Parts: TypeAlias = list[NDArray[np.float32]]


def ignore_step() -> None:
    """The default observer of steps: does nothing."""


class VisionEncoder:
    """Images to embedding rows. The graph is loaded at the first image.

    Args:
        bundle: Holds the files.
        info: What they are.
        open_session: Loads the graph.
        on_encoded: Called with the patches and the seconds of each image, the encoder's first run left out.
    """

    def __init__(
        self,
        bundle: Bundle,
        info: VisionInfo,
        open_session: OpenSession,
        on_encoded: Callable[[int, float], None] = lambda _patches, _seconds: None,
    ) -> None:
        self.info = info
        self._on_encoded = on_encoded
        self._row_separator = bundle.tensor(info.row_separator)
        self._global_separator = bundle.tensor(info.global_separator)
        self._session = _LazySession(bundle.file(info.graph), open_session)

    def encode(
        self,
        views: ImageViews,
        should_stop: Callable[[], bool] = never,
        on_step: Callable[[], None] = ignore_step,
        parts: Parts | None = None,
    ) -> NDArray[np.float32]:
        """Encode one image, one view at a time so that memory does not grow with its size; equal views only once.

        Args:
            views: The image.
            should_stop: Asked before each view, and during it.
            on_step: Called before each view.
            parts: Views that an earlier call had encoded before it was stopped. Those that this call encodes are
                appended, also if it is stopped.

        Returns:
            float32 [A, H], A = `num_image_rows(views)`: the useful part of the tiles, a separator after each row;
            the global separator; the global view, a separator after each row.

        Raises:
            Stopped: `should_stop` returned True.
        """
        ids, equal = position_ids(views.patch_mask), first_equal_views(views)
        made: Parts = [] if parts is None else parts
        timed: list[tuple[int, float]] = []

        def view(index: int) -> NDArray[np.float32]:
            if equal[index] < index:
                return made[equal[index]]
            is_warm, began_s = self._session.is_open, time.perf_counter()
            rows = self._view(views, index, ids[index], should_stop)
            if is_warm:  # the first run also loads the graph and reads the weights from the disk
                timed.append((int(views.patch_mask[index].sum()), time.perf_counter() - began_s))
            return rows

        first, *rest = _encoded(len(views), view, should_stop, on_step, made)
        self._on_encoded(sum(patches for patches, _ in timed), sum(seconds for _, seconds in timed))
        side = first.shape[0]
        grid = np.stack(rest).reshape(views.tile_rows, views.tile_columns, side, side, -1)
        canvas = grid.transpose(0, 2, 1, 3, 4).reshape(views.tile_rows * side, views.tile_columns * side, -1)
        height, width = useful_grid(views)
        tiles = self._with_separators(canvas[:height, :width])
        return np.concatenate([tiles, self._global_separator[None], self._with_separators(first)])

    def _view(
        self, views: ImageViews, index: int, ids: NDArray[np.int64], should_stop: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """[g, g, H] of one view."""
        inputs = {
            "pixel_values": views.view(index)[None],
            "patch_mask": views.patch_mask[index].reshape(1, -1),
            "position_ids": ids[None],
        }
        features: NDArray[np.float32] = self._session.run(["image_features"], inputs, should_stop)[0]
        side = self.info.rows_per_side
        return features.reshape(side, side, -1)

    def _with_separators(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows, columns, H] -> [rows * (columns + 1), H]."""
        separators = np.broadcast_to(self._row_separator, (len(grid), 1, grid.shape[2]))
        return np.concatenate([grid, separators], axis=1).reshape(-1, grid.shape[2])


class SpeechEncoder:
    """Audio to embedding rows. The graph is loaded at the first audio.

    Args:
        bundle: Holds the files.
        info: What they are.
        open_session: Loads the graph.
    """

    def __init__(self, bundle: Bundle, info: SpeechInfo, open_session: OpenSession) -> None:
        self.info = info
        self._session = _LazySession(bundle.file(info.graph), open_session)

    def encode(
        self,
        mel: NDArray[np.float32],
        projection: EncoderName = "speech",
        should_stop: Callable[[], bool] = never,
        on_step: Callable[[], None] = ignore_step,
        parts: Parts | None = None,
    ) -> NDArray[np.float32]:
        """Encode one audio, window by window.

        Audio of more than `window_rows` rows is cut into windows that are encoded independently, the last one
        filled up with zero rows that are attended, because the model was trained so. The strided convolutions in
        front are exact across cuts: rows [a, b) depend on frames 8a-7 ... 8b-1 only, so a window is given one row's
        worth of frames before its own, and drops that row.

        Args:
            mel: float32 [T, 80], one row per 10 ms.
            projection: `speech` for audio alone, `vision` for audio beside an image.
            should_stop: Asked before each window, and during it.
            on_step: Called before each window.
            parts: Windows, as the views of `VisionEncoder.encode`.

        Returns:
            float32 [A, H], A = ceil(T / 8): one row per 80 ms.

        Raises:
            ConfigError: The bundle lacks the projection.
            Stopped: `should_stop` returned True.
        """
        if projection not in self.info.projections:
            raise ConfigError(
                f"the model folder's speech encoder has no {projection!r} projection, only "
                f"{', '.join(self.info.projections)}; export with --adapters routed and all modalities"
            )
        total = num_audio_rows(len(mel), self.info.time_reduction)
        window = self.info.window_rows

        def rows(index: int) -> NDArray[np.float32]:
            return self._window(mel, index * window, min(window, total), projection, should_stop)

        return np.concatenate(_encoded(self.num_windows(total), rows, should_stop, on_step, parts))

    def num_windows(self, num_rows: int) -> int:
        """Steps of encoding audio that becomes this many rows."""
        return -(-num_rows // self.info.window_rows)

    def _window(
        self,
        mel: NDArray[np.float32],
        start: int,
        window_rows: int,
        projection: EncoderName,
        should_stop: Callable[[], bool],
    ) -> NDArray[np.float32]:
        """The rows of one window whose first row is `start`."""
        reduction, drop_rows = self.info.time_reduction, min(start, 1)
        frames = mel[(start - drop_rows) * reduction : (start + window_rows) * reduction]
        inputs: dict[str, NDArray[Any]] = {
            "log_mel": np.ascontiguousarray(frames)[None],
            "drop_rows": np.array(drop_rows, np.int64),
            "window_rows": np.array(window_rows, np.int64),
            "projection": np.array(PROJECTION_IDS[projection], np.int64),
        }
        features: NDArray[np.float32] = self._session.run(["audio_features"], inputs, should_stop)[0][0]
        return features


def _encoded(
    count: int,
    encode: Callable[[int], NDArray[np.float32]],
    should_stop: Callable[[], bool],
    on_step: Callable[[], None],
    parts: Parts | None,
) -> Parts:
    """All `count` parts: those there are, and the others one after the other."""
    made = [] if parts is None else parts
    for index in range(len(made), count):
        on_step()  # first, as it may be what stops the encoding
        ask(should_stop)
        made.append(encode(index))
    return made


class _LazySession:
    """A session opened when first used, by whichever thread; ONNX Runtime lets several run it at once."""

    def __init__(self, path: Path, open_session: OpenSession) -> None:
        self._path = path
        self._open_session = open_session
        self._opening = Lock()
        self._session: Session | None = None

    @property
    def is_open(self) -> bool:
        """Whether a run has begun before."""
        return self._session is not None

    def run(
        self, output_names: list[str], inputs: Mapping[str, NDArray[Any]], should_stop: Callable[[], bool]
    ) -> list[NDArray[Any]]:
        with self._opening:
            if self._session is None:
                self._session = self._open_session(self._path)
        session = self._session

        def run(options: Any) -> list[NDArray[Any]]:
            with running(self._path.name):
                return session.run(output_names, inputs, options)

        began_s = time.perf_counter()
        outputs = cancellable_run(runtime(), run, should_stop)
        _log.debug("ran %s in %.1f ms", self._path.name, 1000 * (time.perf_counter() - began_s))
        return outputs
