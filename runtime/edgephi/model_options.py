"""`ModelOptions`: where a model runs, and what it may take of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole
from edgephi.bundle.manifest import CacheChoice
from edgephi.ort.device_names import DeviceChoice
from edgephi.ort.session import DeviceOptions

#: Of `cache_bytes`, the part for encoded images and audio: an embedding row is a twentieth of its keys and values.
_MEDIA_SHARE = 16
#: Half the activations of 512 for a hundredth more work.
DEFAULT_CHUNK = 256
#: Most chunks of a pass through the graph for prefill: it packs all weights anew, a second for each pass of the real
#: model. The quarter spares an image of 2,049 tokens, or a prompt of 520, a pass of its own for the last few.
PREFILL_CHUNKS = 2.25
#: Keys and values of 4,096 positions of the real model.
DEFAULT_CACHE_BYTES = 1 << 30
DEFAULT_QUEUE = 32
PrefillChoice = Literal["auto", "stored", "off"]


class ModelFields(TypedDict, total=False):
    """The fields of `ModelOptions`, which `Model.load` takes as keywords."""

    device: DeviceChoice
    threads: int | None
    max_context: int | None
    chunk: int
    cache_bytes: int
    max_queue: int
    kv_cache: CacheChoice
    prefill: PrefillChoice
    prefill_threshold: int | None
    with_adapters: bool
    check_hashes: bool
    ignore_memory: bool
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How a model folder is loaded.

    Attributes:
        device: `cpu`; `webgpu` or `cuda` for a GPU, which keeps weights, keys and values in its memory; `auto` for a
            GPU where there is one that the folder suits.
        threads: Threads to use; None for the physical cores this process may use. Each session has a pool of its own
            unless the program called `edgephi.ort.session.share_threads()`.
        max_context: Positions a request may take; None for the model's own limit. Memory is taken as it fills.
        chunk: Most positions of a prompt in one forward pass, through the graph for prefill up to 2.25 times as
            many. More is faster, and takes more memory while it runs.
        cache_bytes: Most memory that stays taken between requests, so that the next one need not compute again what
            it shares with earlier ones. 0 keeps nothing. A request that runs takes what it needs.
        max_queue: Requests that may wait for their turn.
        kv_cache: What keys and values are kept in: `float`, as the model computes, `int8`, a quarter of the memory and
            of the reading, or `auto`: int8 for a folder exported with it, else float.
        prefill: What reads long prompts. `stored`: the graph for prefill, where its weights are in the folder or were
            derived before. `auto`: also derives them, where the folder was made for that, once its prompts on this
            machine are so long that it pays; they are kept in the user's cache folder. `off`: never that graph.
        prefill_threshold: Where the folder has a graph for prefill: positions from which on what a prompt adds to the
            cache goes through it; 0 never. None measures on this machine from which length on that is faster, at the
            first prompt of 256 positions or more, and keeps the result in the user's cache folder.
        with_adapters: Load the adapters at once. Otherwise the first request with media loads the decoder again, with
            them; until then text does without their memory.
        check_hashes: Also compare every file's sha256 with the manifest.
        ignore_memory: Load and compute what this machine does not seem to have the memory for.
        memory_bytes: What this process may hold, pages of mapped files and what the cache grows to aside; None for no
            limit. A graph that needs more than is left is refused. The weights of the graph for prefill are packed,
            which is faster, where all of them and `cache_bytes` fit too; without a limit they never are. Where not even
            its passes fit, prompts take the decoder's own graph.

    Raises:
        ConfigError: A number is out of range, or the device is unknown.
    """

    device: DeviceChoice = "cpu"
    threads: int | None = None
    max_context: int | None = None
    chunk: int = DEFAULT_CHUNK
    cache_bytes: int = DEFAULT_CACHE_BYTES
    max_queue: int = DEFAULT_QUEUE
    kv_cache: CacheChoice = "auto"
    prefill: PrefillChoice = "auto"
    prefill_threshold: int | None = None
    with_adapters: bool = False
    check_hashes: bool = False
    ignore_memory: bool = False
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        _ = self.device_options  # checks the device and the threads
        if self.kv_cache == "int8" and self.device not in ("cpu", "auto"):
            raise ConfigError(f"kv_cache is 'int8', which device {self.device!r} has no kernels for; use 'float'")
        if self.prefill not in get_args(PrefillChoice):
            raise ConfigError(f"prefill is {self.prefill!r}; use 'auto', 'stored' or 'off'")
        for name, least in (("chunk", 1), ("cache_bytes", 0), ("max_queue", 0)):
            value = getattr(self, name)
            if not (is_whole(value) and value >= least):
                raise ConfigError(f"{name} is {value!r}; use {least} or more")
        threshold = self.prefill_threshold
        if threshold is not None and not (is_whole(threshold) and threshold >= 0):
            raise ConfigError(f"prefill_threshold is {threshold!r}; use 0 or more, or leave it out to measure it")
        if self.memory_bytes is not None and not (is_whole(self.memory_bytes) and self.memory_bytes >= 1):
            raise ConfigError(f"memory_bytes is {self.memory_bytes!r}; use 1 or more, or leave it out for no limit")
        if self.max_context is not None and not (is_whole(self.max_context) and self.max_context >= 1):
            raise ConfigError(
                f"max_context is {self.max_context!r}; use 1 or more, or leave it out for the model's own"
            )

    @property
    def device_options(self) -> DeviceOptions:
        """Where the graphs run."""
        return DeviceOptions(
            device=self.device,
            threads=self.threads,
            ignore_memory=self.ignore_memory,
            memory_bytes=self.memory_bytes,
        )

    @property
    def cache_choice(self) -> CacheChoice:
        """What keys and values are kept in on this device: int8 has kernels on the CPU only."""
        return "float" if self.kv_cache == "auto" and not self.device_options.opened.is_host else self.kv_cache

    @property
    def media_bytes(self) -> int:
        """What encoded media may keep of `cache_bytes`."""
        return self.cache_bytes // _MEDIA_SHARE

    @property
    def kv_bytes(self) -> int:
        """What keys and values may keep of `cache_bytes`."""
        return self.cache_bytes - self.media_bytes
