"""Small model folders, exported once per test run and shared by all tests that only read them.

They are removed at exit. A test that changes files copies one with `copy_bundle`.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.bundle.manifest import CacheKind
from edgephi_export import ExportOptions, export
from edgephi_export.options import PrefillKind
from support.checkpoints import CheckpointSpec, Layout, write_checkpoint


@functools.cache
def bundles_root() -> Path:
    """A folder for what a test run exports once; removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix="edgephi-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def small_checkpoint(layout: Layout = "native", seed: int = 0) -> CheckpointSpec:
    """A small random checkpoint. Read only."""
    return _written(layout, seed)


def small_bundle(
    layout: Layout = "native",
    adapters: str | None = None,
    modalities: tuple[str, ...] | None = None,
    recipe: str = "fp32",
    kv_cache: CacheKind = "float",
    prefill: PrefillKind | None = None,
) -> Path:
    """The model folder of `small_checkpoint(layout)`. Read only."""
    return _exported(layout, adapters, modalities, ExportOptions(recipe=recipe, kv_cache=kv_cache, prefill=prefill))


# Behind the functions above, so that spelling out a default does not export again.
@functools.cache
def _written(layout: Layout, seed: int) -> CheckpointSpec:
    return write_checkpoint(bundles_root() / f"checkpoint-{layout}-{seed}", layout, seed)


@functools.cache
def _exported(layout: Layout, adapters: str | None, modalities: tuple[str, ...] | None, options: ExportOptions) -> Path:
    kinds = [options.recipe, options.kv_cache, options.prefill or "alone"]
    name = "-".join(["bundle", layout, *kinds, adapters or "default", *(modalities or ("all",))])
    options = dataclasses.replace(options, adapters=adapters, modalities=modalities)
    return export(small_checkpoint(layout).path, bundles_root() / name, options)


@functools.cache
def nano_bundle() -> Path:
    """The model folder of the demo's checkpoint, which takes audio and images and calls functions. Read only."""
    return export(
        Path(__file__).parents[2] / "nano" / "checkpoint", bundles_root() / "nano", ExportOptions(recipe="int4")
    )


def copy_bundle(bundle: Path, folder: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(bundle, folder)
    return folder


def described(bundle: Path) -> dict[str, Any]:
    """The values of its manifest to be changed and written again, without the checksum that would reveal it."""
    raw: dict[str, Any] = json.loads((bundle / MANIFEST_NAME).read_text(encoding="utf-8"))
    return {key: value for key, value in raw.items() if key != "checksum"}


def put(bundle: Path, name: str, content: bytes) -> None:
    """Change a file of a copied bundle, and the manifest with it: as if an export had written it so."""
    (bundle / name).write_bytes(content)
    manifest = described(bundle)
    facts = {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"] = [*(file for file in manifest["files"] if file["path"] != name), facts]
    (bundle / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
