"""A folder for onnxruntime-genai run as that library runs it, with ONNX Runtime alone: four graphs and their states."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]


def open_graph(path: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_graph(session: Any, given: Tensors) -> Tensors:
    """All outputs by name; a graph gets those of the tensors that it takes."""
    names = [value.name for value in session.get_outputs()]
    feed = {value.name: given[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, feed), strict=True))


@functools.cache
def _graphs(folder: Path) -> tuple[Any, ...]:
    """Opened once: a folder is read only here."""
    paths = [folder / f"{name}.onnx" for name in ("vision", "speech", "embedding", "model")]
    return tuple(open_graph(path) if path.is_file() else None for path in paths)


class GenaiPipeline:
    """One sequence."""

    def __init__(self, folder: Path) -> None:
        self._vision, self._speech, self._embedding, self._decoder = _graphs(folder)
        self._states: Tensors = {}
        self._length = 0

    def media_rows(self, tensors: Tensors) -> Tensors:
        """Rows of all images and recordings, none where there are none."""
        hidden = next(v.shape[1] for v in self._embedding.get_inputs() if v.name == "image_features")
        rows = {name: np.zeros((0, hidden), np.float32) for name in ("image_features", "audio_features")}
        if "pixel_values" in tensors:
            rows |= run_graph(self._vision, tensors)
        if "audio_embeds" in tensors:
            rows |= run_graph(self._speech, tensors)
        return rows

    def start(self, tensors: Tensors) -> NDArray[np.float32]:
        """Logits [V] after a prompt with its media."""
        return self._pass(tensors["input_ids"].astype(np.int64), self.media_rows(tensors))

    def append(self, token: int) -> NDArray[np.float32]:
        """Logits [V] after one more token."""
        return self._pass(np.array([[token]], np.int64), self.media_rows({}))

    def _pass(self, ids: NDArray[np.int64], rows: Tensors) -> NDArray[np.float32]:
        embeds = run_graph(self._embedding, {"input_ids": ids, **rows})["inputs_embeds"]
        start, self._length = self._length, self._length + ids.shape[1]
        given = {
            "inputs_embeds": embeds,
            "input_ids": ids,
            "attention_mask": np.ones((1, self._length), np.int64),
            "position_ids": np.arange(start, self._length, dtype=np.int64)[None],
        }
        for value in self._decoder.get_inputs():
            if value.name.startswith("past_key_values.") and value.name not in self._states:
                shape = [axis if isinstance(axis, int) else 1 if axis == "B" else 0 for axis in value.shape]
                self._states[value.name] = np.zeros(shape, np.float32)
        made = run_graph(self._decoder, given | self._states)
        self._states = {name: made[name.replace("past_key_values", "present")] for name in self._states}
        return made["logits"][0, 0]
