"""Media as the model takes them: files of this machine by their paths, everything else as a copy for one request."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from edgephi.sources.source import PipedMedia
from edgephi_batch.items import MediaRef
from edgephi_batch.reading.parquet import cell_bytes
from edgephi_batch.storage import is_uri, opened


@contextmanager
def local_media(refs: Sequence[MediaRef]) -> Iterator[list[str]]:
    """Paths that can be read inside the block. A recording of hours is read from its file, never held in memory.

    Raises:
        ConfigError: Something that is no file of this machine cannot be read.
        EdgeError: pyarrow is needed and not installed.
    """
    with ExitStack() as stack:
        yield [_local(ref, stack) for ref in refs]


def _local(ref: MediaRef, stack: ExitStack) -> str:
    if not ref.column and not is_uri(ref.place):
        return ref.place
    copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="edgephi-batch-"))  # noqa: SIM115 - until the block ends
    if ref.column:
        copy.write(cell_bytes(ref))
    else:
        with opened(ref.place) as stream:
            shutil.copyfileobj(stream, copy)
    copy.flush()
    return PipedMedia.of(copy.name, ref.name)  # messages name what it is a copy of
