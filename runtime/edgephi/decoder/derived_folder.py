"""Where the derived weights of a model's graph for prefill lie: in the user's cache, which may be deleted at any time.

edgephi/prefill/KEY/        KEY follows from the contents of the decoder's weights
    model.json              which folder they were derived from
    weights/prefill*.bin    the weights
    weights/decoder.bin ... empty: ONNX Runtime wants a file of each name, and gets the values by address
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

from edgephi.base.atomic_write import FolderKind, check_space, staged, writing
from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi.base.file_lock import lock_alone
from edgephi.base.json_file import decode, read_json
from edgephi.base.user_cache import user_cache
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.folder_files import HeldFiles, PlainFiles
from edgephi.bundle.index_check import check_inside
from edgephi.bundle.tensor_index import TensorIndex
from edgephi.decoder.derivation import derive, file_sizes

#: Changes with what is derived, so that older weights are not taken for newer ones.
_VERSION = "1"
_RECORD = "model.json"
_KIND = FolderKind("derived weights", (_RECORD,))
#: What is left of the disk: a cache must not be what fills it.
SPARE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRecord:
    """Derived weights in the cache: the folder they were derived from, and their bytes."""

    model: str
    bytes: int


class DerivedFolder:
    """The place of one model's derived weights.

    Args:
        bundle: The model folder; its manifest has `derived_prefill`.

    Attributes:
        path: The place; there need be nothing.
        index: The derived tensors, and the constants of the graphs that take them.

    Raises:
        ArtifactError: The index is damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        info = bundle.manifest.derived_prefill
        if info is None:
            raise ValueError("no weights are to be derived")
        where = str(bundle.file(info.index))
        self._bundle = bundle
        self.index = TensorIndex.from_json(bundle.read_text(info.index), where)
        self._sizes = file_sizes(self.index)
        _check(self.index, self._sizes, bundle, where)
        contents = (f"{file.path} {file.sha256}" for file in bundle.manifest.files if file.path.startswith("weights/"))
        facts = "\n".join((_VERSION, hashlib.sha256(self.index.to_json().encode()).hexdigest(), *contents))
        self.path = _root() / hashlib.sha256(facts.encode()).hexdigest()[:32]

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(self._sizes.values())

    @property
    def is_there(self) -> bool:
        """Whether the weights are there, whole."""
        with suppress(OSError):
            return all((self.path / name).stat().st_size == size for name, size in self._sizes.items())
        return False

    def open(self) -> OpenDerived:
        """The weights beside the folder's own, for a session.

        Raises:
            OSError: They are not there.
        """
        return OpenDerived(self._bundle, self.path, self.index, tuple(self._sizes))

    def make(self, *, threads: int, should_stop: Callable[[], bool]) -> bool:
        """Derive the weights, unless they are there; those of a former content of the same model folder are deleted.

        Returns:
            Whether they are there; False where another process derives weights at this moment.

        Raises:
            Stopped: `should_stop` returned True; nothing is left.
            CapacityError: The disk has no room for them and 1 GiB beside.
            EdgeError: The cache folder cannot be written. Nothing is left.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with (self.path.parent / ".lock").open("wb") as lock:
                try:
                    lock_alone(lock, "another process derives weights at this moment")
                except ConfigError:
                    return False
                if not self.is_there:
                    self._make(threads, should_stop)
                return True

    def _make(self, threads: int, should_stop: Callable[[], bool]) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # damaged
        check_space(self.path, self.num_bytes + SPARE_BYTES, what="deriving weights", relief="use --prefill stored")
        model = str(self._bundle.path.absolute())
        with staged(self.path, _KIND, force=True) as folder:
            derive(self._bundle, self.index, folder, threads=threads, should_stop=should_stop)
            for constant in self.index.constants:
                (folder / constant.tensor.file).parent.mkdir(parents=True, exist_ok=True)
                (folder / constant.tensor.file).touch()
            record = DerivedRecord(model=model, bytes=self.num_bytes)
            (folder / _RECORD).write_text(json.dumps(dataclasses.asdict(record)) + "\n", encoding="utf-8")
        for path, other in kept():
            if other.model == model and path != self.path:
                delete(path)


class OpenDerived:
    """The graphs and weights of a folder, and the derived weights beside them: serves `open_session` as a folder."""

    def __init__(self, bundle: Bundle, path: Path, index: TensorIndex, names: tuple[str, ...]) -> None:
        self._index = index
        self.files: PlainFiles = _Files(bundle.files, path, names)

    def tensor_index(self) -> TensorIndex:
        """The constants of the graphs."""
        return self._index


class _Files(PlainFiles):
    """Files of two folders: derived ones, and all others of the model's."""

    def __init__(self, own: HeldFiles, path: Path, names: tuple[str, ...]) -> None:
        super().__init__(path.absolute())
        self._own, self._names = own, names
        self._derived = HeldFiles(path)
        for name in names:
            self._derived.add(name)

    def read(self, name: str) -> bytes:
        return self._own.read(name)

    def map(self, name: str) -> mmap:
        return (self._derived if name in self._names else self._own).map(name)

    @contextmanager
    def names_beside(self) -> Iterator[Path]:
        yield self.folder


def kept() -> list[tuple[Path, DerivedRecord]]:
    """All derived weights in the user's cache."""
    found = []
    for record in sorted(_root().glob(f"*/{_RECORD}")):
        with suppress(OSError, EdgeError):
            found.append((record.parent, decode(DerivedRecord, read_json(record), str(record))))
    return found


def delete(path: Path) -> bool:
    """Delete derived weights; whether there were any. A process that uses them goes on with them.

    Raises:
        EdgeError: The operating system refused.
    """
    if not path.is_dir():
        return False
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise EdgeError(f"{path}: cannot be deleted ({error.strerror or error})") from error
    return True


def _root() -> Path:
    return user_cache() / "prefill"


def _check(index: TensorIndex, sizes: dict[str, int], bundle: Bundle, where: str) -> None:
    """Refuse an index whose derived files are files of the folder, or whose constants lie outside their files."""
    listed = {info.path for info in bundle.manifest.files}
    for name in sizes:
        if name in listed or ".." in Path(name).parts or Path(name).is_absolute():
            raise ArtifactError(f"{where}: {name} cannot be derived; export the model again")
    others = [constant.tensor for constant in index.constants if constant.tensor.file not in sizes]
    check_inside(others, bundle.manifest, where)
    for constant in index.constants:
        ref = constant.tensor
        if ref.file in sizes and ref.offset + ref.num_bytes > sizes[ref.file]:
            raise ArtifactError(f"{where}: constant {constant.name} leaves {ref.file}; export the model again")
