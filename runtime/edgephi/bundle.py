"""The model folder ("bundle"): what `edgephi export` writes and every other command reads.

Owns the folder's path, its checked manifest and mapped access to its tensors. Knows nothing about ONNX Runtime.

    edgephi.json                  the manifest (see manifest.py)
    decoder.onnx speech.onnx vision.onnx    graphs, a few MB
    weights/*.bin                 tensor data at 4096-aligned offsets
    tokenizer.json chat_template.jinja
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.errors import ArtifactError, ConfigError
from edgephi.manifest import Manifest, TensorRef

MANIFEST_NAME = "edgephi.json"
TOKENIZER_NAME = "tokenizer.json"
CHAT_TEMPLATE_NAME = "chat_template.jinja"
_HASH_CHUNK_BYTES = 1 << 20


class Bundle:
    """A model folder whose manifest, file list and sizes have been checked.

    Args:
        path: The folder.
        check_hashes: Also read every file and compare its sha256.

    Raises:
        ArtifactError: The folder or a file is missing, damaged or foreign. The message names the file.
        ConfigError: The path is empty.
    """

    def __init__(self, path: str | Path, *, check_hashes: bool = False) -> None:
        if not str(path):
            raise ConfigError("the path of the model folder is empty; give the folder that `edgephi export` made")
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self._check_files()
        self._check_references()
        if check_hashes:
            self.check_hashes()

    def file(self, name: str) -> Path:
        """Absolute path of one of the folder's files."""
        return self.path / name

    def tensor(self, ref: TensorRef) -> NDArray[np.float32]:
        """A read-only mapped view of a tensor; pages are read when touched."""
        path = self.file(ref.file)
        with reading(path):
            view: NDArray[np.float32] = np.memmap(path, ref.dtype, mode="r", offset=ref.offset, shape=ref.shape)
        return view

    def check_hashes(self) -> None:
        """Compare every file's sha256 with the manifest.

        Raises:
            ArtifactError: A file differs. The message names it.
        """
        for info in self.manifest.files:
            path = self.file(info.path)
            with reading(path):
                found = file_sha256(path)
            if found != info.sha256:
                raise ArtifactError(f"{path}: content differs from the manifest; export the model again")

    def _check_files(self) -> None:
        for info in self.manifest.files:
            path = self.file(info.path)
            with reading(path):
                if not path.is_file():
                    raise ArtifactError(f"{path}: missing; export the model again")
                size = path.stat().st_size
            if not os.access(path, os.R_OK):
                raise ArtifactError(f"{path}: cannot be read (no permission); make it readable for this user")
            if size != info.bytes:
                raise ArtifactError(
                    f"{path}: {size:,} bytes, the manifest says {info.bytes:,}; copy or export the model again"
                )

    def _check_references(self) -> None:
        """Every file the manifest's components name must be listed, and every tensor must lie inside its file."""
        manifest, sizes = self.manifest, {info.path: info.bytes for info in self.manifest.files}
        needed = [TOKENIZER_NAME, CHAT_TEMPLATE_NAME, manifest.decoder.graph]
        tensors = [manifest.decoder.embedding]
        if manifest.vision:
            needed.append(manifest.vision.graph)
            tensors += [manifest.vision.row_separator, manifest.vision.global_separator]
        if manifest.speech:
            needed.append(manifest.speech.graph)
        for name in [*needed, *(ref.file for ref in tensors)]:
            if name not in sizes:
                raise ArtifactError(f"{self.path / MANIFEST_NAME}: {name} is used but not listed under files")
        for ref in tensors:
            if ref.offset + ref.num_bytes > sizes[ref.file]:
                raise ArtifactError(f"{self.path / MANIFEST_NAME}: a tensor of shape {ref.shape} leaves {ref.file}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around whatever reads `path`: a failure becomes one line that names it.

    Raises:
        ArtifactError: The path cannot be read, or is not the text or the array it should be.
    """
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    with reading(folder):
        if not folder.is_dir():
            raise ArtifactError(
                f"{folder}: no such model folder; make one with `edgephi export CHECKPOINT -o {folder}`"
            )
        if not path.exists():
            raise ArtifactError(
                f"{folder}: not an edgephi model folder (no {MANIFEST_NAME}); "
                "make one with `edgephi export CHECKPOINT -o DIR`"
            )
    with reading(path):
        text = path.read_text(encoding="utf-8")
    return Manifest.from_json(text, str(path))
