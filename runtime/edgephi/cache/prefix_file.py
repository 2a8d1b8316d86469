"""A prefix on disk: keys and values, and the token ids and media they were computed from.

    EDGEPHI-PREFIX-1 and a line feed | length of the header, uint32 | header, JSON | token ids, int64 [S]
    | keys and values [H_kv, S, D] in the order of `cache_names` | sha256 of all before it

Numbers are little-endian. The header names the model folder by the sha256 of its manifest, which has those of all other
files: keys of other weights would be nonsense without an error. The file is written beside its name and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.json_file import decode
from edgephi.base.output_file import check_output_file, staged_file
from edgephi.bundle.bundle import Bundle, reading
from edgephi.bundle.manifest import Adapter, CacheDtype
from edgephi.cache.kv_cache import CacheShape, KVCache, cache_names, check_context
from edgephi.cache.prefix_cache import CachedSequence
from edgephi.prompt.input_sequence import MediaSpan

_MAGIC = b"EDGEPHI-PREFIX-1\n"
_LENGTH = struct.Struct("<I")
_MAX_HEADER_BYTES = 1 << 20
_HASH_BYTES = 32
_PIECE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEntry:
    """An image or audio input of the prefix: first row, number of rows, and hexadecimal digest of the content."""

    start: int
    length: int
    digest: str

    def __post_init__(self) -> None:
        bytes.fromhex(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixHeader:
    """What a prefix file says about itself.

    Attributes:
        manifest_sha256: Of the model folder's `edgephi.json`.
        adapter: The prefix was read with.
        is_long: Whether the keys were rotated with LongRoPE's long factors.
        positions: S.
        dtype: Of keys and values.
        media: Images and audio inputs in the order of their rows.
    """

    manifest_sha256: str
    adapter: Adapter
    is_long: bool
    positions: int
    dtype: CacheDtype
    media: tuple[MediaEntry, ...]

    def __post_init__(self) -> None:
        if self.positions < 1:
            raise ValueError(f"positions is {self.positions}; there must be one")


def check_prefix_output(path: Path) -> None:
    """Refuse, before the work, a place where `write_prefix` could not write or would replace something else.

    Raises:
        ConfigError: It cannot be written, or an existing file is no saved prefix.
        CapacityError: The disk is full.
    """
    check_output_file(path)
    if path.is_file() and path.stat().st_size:
        with reading(path), path.open("rb") as stream:
            is_ours = stream.read(len(_MAGIC)) == _MAGIC
        if not is_ours:
            raise ConfigError(f"{path}: exists and is not a saved prefix, so it is not replaced; choose another place")


def write_prefix(path: Path, bundle: Bundle, read: CachedSequence) -> None:
    """Write what was read of a sequence. An older file of that name is replaced at once or not at all.

    Raises:
        ConfigError: The file cannot be written. None of that name has changed.
    """
    try:
        with staged_file(path) as stream:
            _write(stream, bundle, read)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def read_prefix(path: Path, bundle: Bundle, shape: CacheShape) -> CachedSequence:
    """Read a file of `write_prefix`.

    Raises:
        ArtifactError: It is missing, damaged, cut, of another model folder, or of the other kind of cache.
        CapacityError: It is longer than the context.
    """
    if os.path.exists(path) and not path.is_file():  # opening a pipe that nobody writes to would wait forever
        raise ArtifactError(f"{path}: not a saved prefix; give another file name")
    with reading(path), path.open("rb") as stream:
        header = _read_header(stream, path)
        if header.manifest_sha256 != bundle.manifest_sha256:
            raise ArtifactError(
                f"{path}: made with another model folder than {bundle.path}; delete it to make it again"
            )
        if header.dtype != shape.dtype:
            raise ArtifactError(
                f"{path}: holds keys and values in {header.dtype}, this model was loaded with them in {shape.dtype}; "
                "load it with the other kv_cache, or delete the file to make it again"
            )
        size = stream.tell() + header.positions * (8 + shape.bytes_per_position) + _HASH_BYTES
        if os.fstat(stream.fileno()).st_size != size:
            raise _damaged(path)
        check_context(header.positions, shape)
        if not _is_whole(stream, size):
            raise _damaged(path)
        return _read_body(stream, header, shape)


def _write(stream: BinaryIO, bundle: Bundle, read: CachedSequence) -> None:
    cache = read.cache
    header = PrefixHeader(
        manifest_sha256=bundle.manifest_sha256,
        adapter=read.adapter or "none",
        is_long=read.is_long,
        positions=cache.used,
        dtype=cache.shape.dtype,
        media=tuple(MediaEntry(start=span.start, length=span.length, digest=span.digest.hex()) for span in read.spans),
    )
    text = json.dumps(asdict(header)).encode()
    digest = hashlib.sha256()
    for piece in (_MAGIC, _LENGTH.pack(len(text)), text, *_body(read)):
        digest.update(piece)
        stream.write(piece)
    stream.write(digest.digest())


def _body(read: CachedSequence) -> Iterator[bytes]:
    used = read.cache.used
    yield read.ids[:used].astype("<i8").tobytes()
    for name in cache_names(read.cache.shape.num_layers):
        for head in read.cache.filled(name)[0]:
            yield head.tobytes()


def _read_header(stream: BinaryIO, path: Path) -> PrefixHeader:
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise ArtifactError(f"{path}: not a saved prefix; give another file name, or delete it to make it again")
    try:
        (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        text = stream.read(min(length, _MAX_HEADER_BYTES))
        return decode(PrefixHeader, json.loads(text), str(path))
    except (ArtifactError, ValueError, struct.error, RecursionError):
        raise _damaged(path) from None


def _is_whole(stream: BinaryIO, size: int) -> bool:
    """Whether the last bytes are the hash of all others; the stream stays where it is."""
    at, digest, left = stream.tell(), hashlib.sha256(), size - _HASH_BYTES
    stream.seek(0)
    while left > 0 and (piece := stream.read(min(left, _PIECE_BYTES))):
        digest.update(piece)
        left -= len(piece)
    expected = stream.read(_HASH_BYTES)
    stream.seek(at)
    return digest.digest() == expected


def _read_body(stream: BinaryIO, header: PrefixHeader, shape: CacheShape) -> CachedSequence:
    count = header.positions
    ids: NDArray[np.int64] = np.frombuffer(stream.read(8 * count), "<i8").astype(np.int64)
    cache = KVCache(shape, capacity=count)
    rows = np.empty((1, shape.num_kv_heads, count, shape.head_size), shape.dtype)
    for name in cache_names(shape.num_layers):
        stream.readinto(rows.data.cast("B"))  # type: ignore[attr-defined]
        shape.device.write(cache.buffers[name], rows)
    cache.used = count
    spans = tuple(MediaSpan(item.start, item.length, bytes.fromhex(item.digest)) for item in header.media)
    return CachedSequence(cache=cache, adapter=header.adapter, is_long=header.is_long, ids=ids, spans=spans)


def _damaged(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: damaged or cut; delete it to make it again")
