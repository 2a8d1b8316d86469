"""A graph's weight files, mapped by this process itself and handed to ONNX Runtime tensor by tensor.

Owns the mappings and which of their pages stay in memory. Knows nothing about what a tensor is for.

ONNX Runtime would map the files as well, but only whoever mapped them knows the addresses for certain and may give
pages back while a graph is loaded. That keeps the peak low although all threads pack weights at once, and it leaves
nothing behind: of the real model's `int4`, 536 MB of scales that are read for packing and never again. A page that is
read after all comes back from the file.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.folder_files import PlainFiles
from edgephi.ort.external_tensors import ExternalTensor, external_tensors

#: Two cores pack some 20 MB of the real model in this time.
_INTERVAL_S = 0.01
#: Norms and biases, which every run reads, are copied: each page of the file that is read brings in its neighbours,
#: 80 MB for the norms of the real model.
_SMALL_BYTES = 1 << 16
_CAN_GIVE_BACK = hasattr(mmap, "MADV_DONTNEED")  # not on Windows


class MappedWeights:
    """The tensors of one graph that lie in files. They must outlive every session they were given to.

    Args:
        graph: The ONNX file. Tensors whose place is not wholly inside its folder and their file are left out; ONNX
            Runtime looks for those itself, and says what is wrong with them.
        files: Of the folder that the graph lies in; None to open them by name.

    Attributes:
        graph: Content of the ONNX file.
        arrays: The tensors by name.
    """

    def __init__(self, graph: Path, files: PlainFiles | None = None) -> None:
        self._files = files or PlainFiles(graph.parent)
        self._maps: dict[str, mmap.mmap | None] = {}
        self.graph = self._files.read(graph.name)
        self.arrays: dict[str, NDArray[Any]] = {}
        for tensor in external_tensors(self.graph):
            array = self._array(tensor)
            if array is not None:
                self.arrays[tensor.name] = array

    @property
    def maps(self) -> dict[str, mmap.mmap]:
        """The files that tensors lie in, by the name that the graph has for them."""
        return {name: mapped for name, mapped in self._maps.items() if mapped is not None}

    @contextmanager
    def giving_back(self) -> Iterator[None]:
        """While the block runs, drop every few milliseconds the pages that were read, and once more at its end."""
        done = threading.Event()

        def give_back() -> None:
            while not done.wait(_INTERVAL_S):
                self._give_back()

        beside = threading.Thread(target=give_back, name="edgephi-pages", daemon=True)
        try:
            with suppress(RuntimeError):  # no thread to be had: more memory while it loads
                beside.start()
            yield
        finally:
            done.set()
            if beside.ident is not None:
                beside.join()
            self._give_back()

    def _give_back(self) -> None:
        if not _CAN_GIVE_BACK:
            return
        library = ctypes.CDLL(None)  # its calls, unlike those of `mmap`, let other threads of the interpreter run
        for mapped in self.maps.values():
            start = np.frombuffer(mapped, np.uint8).ctypes.data
            # In a process that locks its memory it fails, and the pages stay.
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), mmap.MADV_DONTNEED)

    def _array(self, tensor: ExternalTensor) -> NDArray[Any] | None:
        mapped, dtype, count = self._map(tensor.file), np.dtype(tensor.dtype), math.prod(tensor.shape)
        size = count * dtype.itemsize
        if mapped is None or min(size - 1, tensor.offset) < 0 or tensor.offset + size > len(mapped):
            return None
        if tensor.length not in (None, size):
            return None
        array = np.frombuffer(mapped, dtype, count, tensor.offset).reshape(tensor.shape)
        return array.copy() if array.nbytes <= _SMALL_BYTES else array

    def _map(self, name: str) -> mmap.mmap | None:
        if name not in self._maps:
            self._maps[name] = self._files.map(name)
        return self._maps[name]
