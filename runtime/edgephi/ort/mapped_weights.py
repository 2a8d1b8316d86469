"""A graph's weight files, mapped by this process itself and handed to ONNX Runtime tensor by tensor.

ONNX Runtime would map the files as well, but only whoever mapped them knows the addresses for certain and may give
pages back while a graph is loaded. That keeps the peak low although all threads pack weights at once, and it leaves
nothing behind: of the real model's `int4`, 536 MB of scales that are read for packing and never again. A page that is
read after all comes back from the file.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.folder_files import PlainFiles
from edgephi.bundle.tensor_index import GraphConstant
from edgephi.bundle.tensor_ref import TensorRef

#: Two cores pack some 20 MB of the real model in this time.
_INTERVAL_S = 0.01
#: Norms and biases, which every run reads, are copied: each page of the file that is read brings in its neighbours,
#: 80 MB for the norms of the real model.
_SMALL_BYTES = 1 << 16
_CAN_GIVE_BACK = hasattr(mmap, "MADV_DONTNEED")  # not on Windows


class MappedWeights:
    """The constants of one graph that lie in files. They must outlive every session they were given to.

    Args:
        files: Of the model folder.
        constants: Of the graph; the folder has them all (see bundle/index_check.py).

    Attributes:
        arrays: The constants by name.
        maps: The files that they lie in, by path within the folder.

    Raises:
        ArtifactError: A file changed since it was opened.
        CapacityError: This process may not use so many addresses.
        OSError: A file cannot be mapped.
    """

    def __init__(self, files: PlainFiles, constants: Iterable[GraphConstant]) -> None:
        self._files = files
        self.maps: dict[str, mmap.mmap] = {}
        self.arrays = {constant.name: self._array(constant.tensor) for constant in constants}

    @contextmanager
    def giving_back(self) -> Iterator[None]:
        """While the block runs, drop every few milliseconds the pages that were read, and once more at its end."""
        done = threading.Event()

        def give_back() -> None:
            while not done.wait(_INTERVAL_S):
                self.give_back()

        beside = threading.Thread(target=give_back, name="edgephi-pages", daemon=True)
        try:
            with suppress(RuntimeError):  # no thread to be had: more memory while it loads
                beside.start()
            yield
        finally:
            done.set()
            if beside.ident is not None:
                beside.join()
            self.give_back()

    def give_back(self) -> None:
        """Drop the pages that were read; those that are needed again come back from the file."""
        if not _CAN_GIVE_BACK:
            return
        library = ctypes.CDLL(None)  # its calls, unlike those of `mmap`, let other threads of the interpreter run
        for mapped in self.maps.values():
            start = np.frombuffer(mapped, np.uint8).ctypes.data
            # In a process that locks its memory it fails, and the pages stay.
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), mmap.MADV_DONTNEED)

    def _array(self, ref: TensorRef) -> NDArray[Any]:
        if ref.file not in self.maps:
            self.maps[ref.file] = self._files.map(ref.file)
        array: NDArray[Any] = np.ndarray(ref.shape, ref.dtype, self.maps[ref.file], ref.offset)
        return array.copy() if array.nbytes <= _SMALL_BYTES else array
