"""An OCI layout: a CNCF ModelPack artifact, or an image that runs on a base layout.

Both are made without a registry or a daemon; `skopeo copy oci:DIR ...` carries them on. What changes apart has layers
apart, so that a registry and a device transfer of a new release what changed: each large file, and each room of the
release without its large files. A layer for every file would be over a thousand: containers have at most 127
(overlayfs), and each layer is a request to the registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
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
#: Files of this size have a layer of their own.
_LARGE_BYTES = 64 << 20
#: Layers of an image that Docker and containers-storage mount.
_MOST_LAYERS = 127
#: Rooms of a release from the one that changes least often to the one that changes with every version.
_WEIGHTS = "model"
_TEXTS = ("licences", "about")
_ROOMS = ("app", "licences", _WEIGHTS, "probe", "bin", "about")
_PATH = "org.cncf.model.filepath"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the layout says of itself.

    Attributes:
        name: Of the product.
        version: The tag.
        created: UTC.
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

    def tar(self, files: Iterable[TreeFile], below: str, media_type: str, **more: Any) -> Json:
        """Add files as an uncompressed tar; its descriptor.

        Their time is 1970, so that a layer is the same in every release that has these files.
        """
        partial = self._blobs / "partial"
        with tarfile.open(partial, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for file in files:
                info = tarfile.TarInfo(below + file.path)
                info.size, info.mode = file.size, file.mode
                with io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source.open("rb") as stream:
                    archive.addfile(info, stream)
        with partial.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = partial.stat().st_size
        partial.rename(self._blobs / digest)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size, **more}

    def finish(self, manifest: Json, facts: ImageFacts) -> None:
        """Write what names the manifest."""
        platform = {} if facts.arch is None else {"platform": {"architecture": _arch(facts), "os": "linux"}}
        named = {"annotations": {"org.opencontainers.image.ref.name": facts.version}}
        entry = self.blob(_text(manifest), _MANIFEST, **named, **platform)
        (self._folder / "index.json").write_bytes(_text({"schemaVersion": 2, "manifests": [entry]}))
        (self._folder / "oci-layout").write_bytes(_text({"imageLayoutVersion": "1.0.0"}))


def write_modelpack(folder: Path, files: Sequence[TreeFile], facts: ImageFacts) -> None:
    """The release as a ModelPack artifact: a layer for each file of the model, and one for each other room.

    Args:
        folder: Empty; filled.
        files: Of the release.
        facts: Of the layout.
    """
    layout, layers = Layout(folder), []
    for room, found in _rooms(files):
        if room == _WEIGHTS:
            layers += [layout.file(file, _model_type(file), annotations={_PATH: file.path}) for file in found]
        else:
            kind = "doc" if room in _TEXTS else "code"
            layers.append(layout.tar(found, "", f"{_MODEL}.{kind}.v1.tar", annotations={_PATH: room}))
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
    """The release as an image that serves its model: the layers of a base layout, and those of the release.

    Args:
        folder: Empty; filled.
        files: Of the release.
        facts: Of the layout.
        base: A layout with one image that has the release's Python, such as `skopeo copy` makes.

    Raises:
        ArtifactError: The base is damaged, or no such layout.
        ConfigError: It is for another processor, or has too many layers.
    """
    layout = Layout(folder)
    manifest, config = _read_base(base)
    if facts.arch is not None and config.get("architecture") != _arch(facts):
        raise ConfigError(f"{base}: is for {config.get('architecture')}, the release for {_arch(facts)}; give another")
    for layer in manifest["layers"]:
        shutil.copyfile(_blob_path(base, layer), _blob_path(folder, layer))
    own = [layout.tar(group, f"{_FOLDER}/", _LAYER) for group in _image_groups(files)]
    layers = [*manifest["layers"], *own]
    if len(layers) > _MOST_LAYERS:
        raise ConfigError(f"{base}: gives an image of {len(layers)} layers, containers have {_MOST_LAYERS}; squash it")
    config["config"] = {
        **config.get("config", {}),
        "Entrypoint": [f"/{_FOLDER}/{PROGRAM}"],
        "Cmd": ["serve", f"/{_FOLDER}/model", "--uds", "/run/edgephi.socket"],
        "WorkingDir": f"/{_FOLDER}",
    }
    config["created"] = json_time(facts.created)
    config["rootfs"] = {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], *(one["digest"] for one in own)]}
    config.pop("history", None)
    described = layout.blob(_text(config), _CONFIG)
    layout.finish({"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}, facts)


def _rooms(files: Sequence[TreeFile]) -> list[tuple[str, list[TreeFile]]]:
    """Names and files of the folders of a release, those that change with every version last."""
    rooms: dict[str, list[TreeFile]] = {}
    for file in files:
        rooms.setdefault(file.path.partition("/")[0], []).append(file)
    return sorted(rooms.items(), key=lambda room: _ROOMS.index(room[0]))


def _image_groups(files: Sequence[TreeFile]) -> Iterator[list[TreeFile]]:
    """The files of each layer."""
    for _, found in _rooms(files):
        yield from ([file] for file in found if file.size >= _LARGE_BYTES)
        if small := [file for file in found if file.size < _LARGE_BYTES]:
            yield small


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


def _model_type(file: TreeFile) -> str:
    return f"{_MODEL}.weight.v1.raw" if file.path.endswith((".bin", ".onnx")) else f"{_MODEL}.weight.config.v1.raw"


def _arch(facts: ImageFacts) -> str | None:
    return None if facts.arch is None else _ARCHITECTURES[facts.arch]


def _text(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
