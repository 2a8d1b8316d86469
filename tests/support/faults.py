"""Model folders with one fault that no checksum finds, as if an export had written them so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.block_hashes import BLOCKS_NAME
from edgephi.bundle.bundle import MANIFEST_NAME
from support.bundles import copy_bundle, described, put

Content = NDArray[np.uint8]


def with_manifest(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy whose manifest is changed."""
    copy = copy_bundle(bundle, folder)
    manifest = described(copy)
    change(manifest)
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def with_file(bundle: Path, folder: Path, name: str, change: Callable[[Content], Content]) -> Path:
    """A copy one of whose weight files is changed; it has no checksums of blocks."""
    copy = with_manifest(bundle, folder, _without_blocks)
    put(copy, name, change(np.fromfile(copy / name, np.uint8)).tobytes())
    return copy


def with_tensor(
    bundle: Path, folder: Path, name: str, change: Callable[[NDArray[Any]], NDArray[Any]], part: str = "scales"
) -> Path:
    """A copy one of whose tensors is changed.

    Args:
        bundle: The original.
        folder: Of the copy.
        name: Of the tensor in `tensors.json`.
        change: Gives the new array, of the same shape.
        part: `values` or `scales`.
    """
    tensors = json.loads((bundle / "tensors.json").read_text(encoding="utf-8"))["tensors"]
    (place,) = [tensor[part] for tensor in tensors if tensor["name"] == name]

    def replace(content: Content) -> Content:
        size = int(np.prod(place["shape"])) * np.dtype(place["dtype"]).itemsize
        view = content[place["offset"] : place["offset"] + size].view(place["dtype"]).reshape(place["shape"])
        view[:] = change(view.copy())
        return content

    return with_file(bundle, folder, place["file"], replace)


def _without_blocks(manifest: dict[str, Any]) -> None:
    manifest["files"] = [file for file in manifest["files"] if file["path"] != BLOCKS_NAME]
