"""Changes a checkpoint on purpose: its JSON files and its tensors.; all tensors are float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Tensors = dict[str, NDArray[np.float32]]


def change_tensors(path: Path, change: Callable[[Tensors], object]) -> None:
    """Rewrite a file after `change` has worked on its tensors."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a JSON file after `change` has worked on its object."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_raw(path: Path, header: object, data: bytes = b"") -> None:
    """A safetensors file with any header, honest or not."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
