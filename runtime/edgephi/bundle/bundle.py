"""The model folder ("bundle"): what `edgephi export` writes and every other command reads.

edgephi.json                  the manifest (see manifest.py)
tensors.json                  what lies where in the weights (see tensor_index.py)
blocks.json                   checksums of the weights' blocks (see block_hashes.py); older folders have none
*.onnx                        graphs, a few MB
weights/*.bin                 tensor data at 4096-aligned offsets
tokenizer.json chat_template.jinja
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.block_hashes import BLOCKS_NAME, BlockHashes, look
from edgephi.bundle.folder_files import HeldFiles
from edgephi.bundle.foreign_folder import why_missing, why_not_folder, why_not_model
from edgephi.bundle.index_check import check_constants, check_inside, check_tensors, first_twice
from edgephi.bundle.manifest import FileInfo, Manifest
from edgephi.bundle.tensor_index import TENSORS_NAME, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.bundle.version_2 import VERSION as VERSION_2
from edgephi.bundle.version_2 import read_index

MANIFEST_NAME = "edgephi.json"
TOKENIZER_NAME = "tokenizer.json"
CHAT_TEMPLATE_NAME = "chat_template.jinja"
_HASH_CHUNK_BYTES = 1 << 20
_WEIGHTS = ".bin"  # too large to be hashed each time


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
        self.files, text = _open_folder(self.path)
        with reading(self.path / MANIFEST_NAME):
            self.manifest = Manifest.from_json(text.decode("utf-8"), str(self.path / MANIFEST_NAME))
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()
        self._folder = self.files.folder  # a path from here would lead elsewhere once the program is elsewhere
        self._index: TensorIndex | None = None
        self._check_files()
        self._check_references()
        if check_hashes:
            self.check_hashes()

    def close(self) -> None:
        """Close the folder's files; what is mapped stays as long as it is used."""
        self.files.close()

    def check_unchanged(self) -> None:
        """Refuse to go on with files that somebody wrote to.

        Raises:
            ArtifactError: One is not as it was when this folder was opened. The message names it.
        """
        with reading(self.path):
            self.files.check_unchanged()

    def read(self, name: str) -> bytes:
        """The content of one of the folder's files, compared with its sha256.

        Raises:
            ArtifactError: It cannot be read, or differs from the manifest.
        """
        with reading(self.file(name)):
            return self.files.read(name)

    def read_text(self, name: str) -> str:
        """As `read`, of a text file in UTF-8."""
        with reading(self.file(name)):
            return self.files.read(name).decode("utf-8")

    def look_for_damage(self) -> int:
        """Check the tensor index, and compare some blocks of the weight files with their checksums.

        Fast, and finds most damage.

        Returns:
            Blocks compared; 0 in a folder of an older version, which has no checksums of blocks.

        Raises:
            ArtifactError: A block differs, or `tensors.json` or `blocks.json` is damaged.
        """
        self.tensor_index()
        if all(info.path != BLOCKS_NAME for info in self.manifest.files):
            return 0
        blocks = BlockHashes.from_json(self.read_text(BLOCKS_NAME), str(self.file(BLOCKS_NAME)))
        listed = {info.path for info in self.manifest.files}
        if strange := [file.path for file in blocks.files if file.path not in listed]:
            raise ArtifactError(f"{self.file(BLOCKS_NAME)}: {strange[0]} is not listed in {MANIFEST_NAME}")
        with reading(self.path):
            return look(self.files, blocks)

    def file(self, name: str) -> Path:
        """Absolute path of one of the folder's files."""
        return self._folder / name

    def tensor(self, ref: TensorRef) -> NDArray[Any]:
        """A read-only mapped view of a tensor in its own dtype; pages are read when touched."""
        with reading(self.file(ref.file)):
            part = self.files.map_part(ref.file, ref.offset, ref.num_bytes)
            view: NDArray[Any] = np.frombuffer(part, ref.dtype).reshape(ref.shape)
        return view

    def tensor_index(self) -> TensorIndex:
        """The places of all tensors in the weight files, read once.

        Raises:
            ArtifactError: `tensors.json` is damaged, or names a place that cannot be right; see index_check.py.
        """
        if self._index is None:
            where, text = str(self.file(TENSORS_NAME)), self.read_text(TENSORS_NAME)
            if self.manifest.schema_version == VERSION_2:
                index = read_index(text, self.manifest, where)
                check_tensors(index, self.manifest, where)
            else:
                index = TensorIndex.from_json(text, where)
                check_tensors(index, self.manifest, where)
                check_constants(index, self.manifest, where)
            self._index = index
        return self._index

    def changed_files(self, on_read: Callable[[int], None] = lambda _: None) -> list[FileInfo]:
        """The files whose sha256 is not the manifest's.

        Args:
            on_read: Called with the number of bytes after each piece that was read.

        Raises:
            ArtifactError: A file cannot be read.
        """
        changed = []
        for info in self.manifest.files:
            with reading(self.file(info.path)):
                if self.files.sha256(info.path, on_read) != info.sha256:
                    changed.append(info)
        return changed

    def check_hashes(self) -> None:
        """Compare every file's sha256 with the manifest.

        Raises:
            ArtifactError: A file differs. The message names the first.
        """
        if changed := self.changed_files():
            path = self.file(changed[0].path)
            raise ArtifactError(f"{path}: content differs from the manifest; export the model again")

    def _check_files(self) -> None:
        if twice := first_twice(info.path for info in self.manifest.files):
            raise ArtifactError(f"{self.path / MANIFEST_NAME}: {twice} is listed twice under files")
        for info in self.manifest.files:
            path = self.file(info.path)
            with reading(path):
                try:
                    size = self.files.add(info.path, None if info.path.endswith(_WEIGHTS) else info.sha256)
                except (FileNotFoundError, IsADirectoryError):
                    raise ArtifactError(f"{path}: missing; export the model again") from None
                except PermissionError:
                    raise ArtifactError(
                        f"{path}: cannot be read (no permission); make it readable for this user"
                    ) from None
            if size != info.bytes:
                raise ArtifactError(
                    f"{path}: {size:,} bytes, the manifest says {info.bytes:,}; copy or export the model again"
                )

    def _check_references(self) -> None:
        """Every file the manifest's components name must be listed, and every tensor must lie inside its file."""
        manifest = self.manifest
        listed = {info.path for info in manifest.files}
        derived = () if manifest.derived_prefill is None else manifest.derived_prefill.files
        for name in (TOKENIZER_NAME, CHAT_TEMPLATE_NAME, TENSORS_NAME, *manifest.graphs, *derived):
            if name not in listed:
                raise ArtifactError(f"{self.path / MANIFEST_NAME}: {name} is used but not listed under files")
        tensors = (*manifest.weights, *manifest.decoder.cache_scales)
        check_inside(tensors, manifest, str(self.path / MANIFEST_NAME))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around whatever reads `path`: a failure becomes one line that names it.

    Raises:
        ArtifactError: The path cannot be read, or is not the text or the array it should be.
        CapacityError: There is not enough memory for it.
    """
    try:
        yield
    except EdgeError:  # ConfigError is a ValueError
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise CapacityError(f"{path}: not enough free memory to read it; free some") from error
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error


def file_sha256(path: Path, on_read: Callable[[int], None] = lambda _: None) -> str:
    """Hexadecimal sha256 of a file, read in chunks; `on_read` is called with the size of each."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            on_read(len(chunk))
    return digest.hexdigest()


def _open_folder(folder: Path) -> tuple[HeldFiles, bytes]:
    """The folder, and the content of its manifest."""
    with reading(folder):
        if not folder.is_dir():
            raise ArtifactError(f"{folder}: {why_not_folder(folder) if folder.exists() else why_missing(folder)}")
        files = HeldFiles(folder)
        try:
            files.add(MANIFEST_NAME)
        except (FileNotFoundError, IsADirectoryError):
            raise ArtifactError(f"{folder}: {why_not_model(folder)}") from None
    with reading(folder / MANIFEST_NAME):
        return files, files.read(MANIFEST_NAME)
