"""An OCI layout: CNCF ModelPack's manifest with one raw layer per file, or an image that runs on a base layout.

Both are made without a registry or a daemon; `skopeo copy oci:DIR ...` carries them on.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.json_file import read_json
from edgephi_pack.about.facts import json_time
from edgephi_pack.tree import PROGRAM, TreeFile

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MODEL = "application/vnd.cncf.model"
_FOLDER = "opt/edgephi"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK_BYTES = 4 << 20
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the layout says of itself.

    Attributes:
        name: Of the product.
        version: The tag.
        created: The time of every file.
        arch: As `uname -m` has it; None where any runs it.
    """

    name: str
    version: str
    created: datetime
    arch: str | None


class Layout:
    """An OCI layout that is being made in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs = folder / "blobs/sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)

    def blob(self, content: bytes, media_type: str, **more: Any) -> Json:
        """Add a small blob; its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def file(self, file: TreeFile, media_type: str, **more: Any) -> Json:
        """Add a file as it is; its descriptor."""
        partial, digest = self._blobs / "partial", hashlib.sha256()
        with partial.open("wb") as stream:
            for piece in file.pieces((*range(_CHUNK_BYTES, file.size, _CHUNK_BYTES), file.size)):
                digest.update(piece)
                stream.write(piece)
        partial.rename(self._blobs / digest.hexdigest())
        return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": file.size, **more}

    def finish(self, manifest: Json, facts: ImageFacts) -> None:
        """Write what names the manifest."""
        platform = {} if facts.arch is None else {"platform": {"architecture": _arch(facts), "os": "linux"}}
        named = {"annotations": {"org.opencontainers.image.ref.name": facts.version}}
        entry = self.blob(_text(manifest), _MANIFEST, **named, **platform)
        (self._folder / "index.json").write_bytes(_text({"schemaVersion": 2, "manifests": [entry]}))
        (self._folder / "oci-layout").write_bytes(_text({"imageLayoutVersion": "1.0.0"}))


def write_modelpack(folder: Path, files: Sequence[TreeFile], facts: ImageFacts) -> None:
    """The release as a ModelPack artifact: a layer for each file, named by its path.

    Args:
        folder: Empty; filled.
        files: Of the release.
        facts: Of the layout.
    """
    layout = Layout(folder)
    layers = [
        layout.file(file, _media_type(file), annotations={"org.cncf.model.filepath": file.path}) for file in files
    ]
    config = {
        "descriptor": {"createdAt": json_time(facts.created), "name": facts.name, "version": facts.version},
        "config": {"architecture": "transformer", "format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers]},
    }
    layout.finish(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": f"{_MODEL}.manifest.v1+json",
            "config": layout.blob(_text(config), f"{_MODEL}.config.v1+json"),
            "layers": layers,
        },
        facts,
    )


def write_image(folder: Path, files: Sequence[TreeFile], facts: ImageFacts, base: Path) -> None:
    """The release as an image: the layers of a base layout, and one with the release, which serves its model.

    Args:
        folder: Empty; filled.
        files: Of the release.
        facts: Of the layout.
        base: A layout with one image that has the release's Python, such as `skopeo copy` makes.

    Raises:
        ArtifactError: The base is damaged, or no such layout.
        ConfigError: It is for another processor.
    """
    layout = Layout(folder)
    manifest, config = _read_base(base)
    if facts.arch is not None and config.get("architecture") != _arch(facts):
        raise ConfigError(f"{base}: is for {config.get('architecture')}, the release for {_arch(facts)}; give another")
    for layer in manifest["layers"]:
        shutil.copyfile(_blob_path(base, layer), _blob_path(folder, layer))
    own, digest = _layer(folder, files, facts)
    config["config"] = {
        **config.get("config", {}),
        "Entrypoint": [f"/{_FOLDER}/{PROGRAM}"],
        "Cmd": ["serve", f"/{_FOLDER}/model", "--uds", "/run/edgephi.socket"],
        "WorkingDir": f"/{_FOLDER}",
    }
    config["created"] = json_time(facts.created)
    config["rootfs"] = {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], digest]}
    config.pop("history", None)
    layers = [*manifest["layers"], own]
    described = layout.blob(_text(config), _CONFIG)
    layout.finish({"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}, facts)


def _layer(folder: Path, files: Sequence[TreeFile], facts: ImageFacts) -> tuple[Json, str]:
    """The release as an uncompressed tar; its descriptor and its digest."""
    partial = folder / "blobs/sha256/partial"
    with tarfile.open(partial, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            info = tarfile.TarInfo(f"{_FOLDER}/{file.path}")
            info.size, info.mode, info.mtime = file.size, file.mode, int(facts.created.timestamp())
            with io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source.open("rb") as stream:
                archive.addfile(info, stream)
    with partial.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = partial.stat().st_size
    partial.rename(partial.with_name(digest))
    return {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": size}, f"sha256:{digest}"


def _read_base(base: Path) -> tuple[Json, Json]:
    """The manifest and the configuration of the only image."""
    try:
        index: Any = read_json(base / "index.json", "; give an OCI layout, such as `skopeo copy` makes")
        [entry] = index["manifests"]
        manifest: Any = read_json(_blob_path(base, entry))
        config: Any = read_json(_blob_path(base, manifest["config"]))
        if not manifest["layers"] or not config["rootfs"]["diff_ids"]:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{base}: is no OCI layout with one image; give one that `skopeo copy` made") from error
    return manifest, config


def _blob_path(folder: Path, descriptor: Json) -> Path:
    return folder / "blobs/sha256" / str(descriptor["digest"]).removeprefix("sha256:")


def _media_type(file: TreeFile) -> str:
    is_model = file.path.startswith("model/")
    if is_model and file.path.endswith((".bin", ".onnx")):
        return f"{_MODEL}.weight.v1.raw"
    if is_model:
        return f"{_MODEL}.weight.config.v1.raw"
    return f"{_MODEL}.doc.v1.raw" if file.path.startswith(("about/", "licences/")) else f"{_MODEL}.code.v1.raw"


def _arch(facts: ImageFacts) -> str | None:
    return None if facts.arch is None else _ARCHITECTURES[facts.arch]


def _text(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
