"""The model folder ("bundle"): what `edgephi export` writes and every other command reads.

edgephi.json                  the manifest (see manifest.py)
tensors.json                  what lies where in the weights (see tensor_index.py); not needed to run
blocks.json                   checksums of the weights' blocks (see block_hashes.py); older folders have none
*.onnx                        graphs, a few MB
weights/*.bin                 tensor data at 4096-aligned offsets
tokenizer.json chat_template.jinja
"""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.block_hashes import BLOCKS_NAME, BlockHashes, look
from edgephi.bundle.folder_files import HeldFiles
from edgephi.bundle.foreign_folder import why_missing, why_not_folder, why_not_model
from edgephi.bundle.manifest import FileInfo, Manifest
from edgephi.bundle.tensor_index import TENSORS_NAME, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef

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
        """Compare some blocks of the weight files with their checksums: fast, and finds most damage.

        Returns:
            Blocks compared; 0 in a folder of an older version, which has no checksums of blocks.

        Raises:
            ArtifactError: A block differs, or `blocks.json` is damaged.
        """
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
        """What lies where in the weight files.

        Raises:
            ArtifactError: `tensors.json` is damaged, names a tensor twice, or one that leaves its file.
        """
        path = self.file(TENSORS_NAME)
        index = TensorIndex.from_json(self.read_text(TENSORS_NAME), str(path))
        if twice := _twice(tensor.name for tensor in index.tensors):
            raise ArtifactError(f"{path}: tensor {twice} is listed twice; export the model again")
        self._check_inside([ref for tensor in index.tensors for ref in tensor.tensors], path)
        return index

    def changed_files(self, on_read: Callable[[int], None] = lambda _: None) -> list[FileInfo]:
        """The files whose sha256 is not the manifest's.

        Args:
            on_read: Told the number of bytes after each piece that was read.

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
        if twice := _twice(info.path for info in self.manifest.files):
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
        needed = [TOKENIZER_NAME, CHAT_TEMPLATE_NAME, TENSORS_NAME, *manifest.decoder.graphs]
        tensors = [*manifest.decoder.tensors]
        if manifest.vision:
            needed.append(manifest.vision.graph)
            tensors += [manifest.vision.row_separator, manifest.vision.global_separator]
        if manifest.speech:
            needed.append(manifest.speech.graph)
        listed = {info.path for info in manifest.files}
        for name in needed:
            if name not in listed:
                raise ArtifactError(f"{self.path / MANIFEST_NAME}: {name} is used but not listed under files")
        self._check_inside(tensors, self.path / MANIFEST_NAME)

    def _check_inside(self, tensors: Iterable[TensorRef], where: Path) -> None:
        """Refuse a tensor whose file is not listed or too short for it."""
        sizes = {info.path: info.bytes for info in self.manifest.files}
        for ref in tensors:
            if ref.file not in sizes:
                raise ArtifactError(f"{where}: {ref.file} is used but not listed under files")
            if ref.offset + ref.num_bytes > sizes[ref.file]:
                raise ArtifactError(f"{where}: a tensor of shape {ref.shape} leaves {ref.file}")


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
    """Hexadecimal sha256 of a file, read in chunks; `on_read` is told the size of each."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            on_read(len(chunk))
    return digest.hexdigest()


def _twice(names: Iterable[str]) -> str | None:
    """The first name that comes more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


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
