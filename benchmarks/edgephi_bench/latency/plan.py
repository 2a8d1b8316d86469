"""The plan of one `edgephi bench MODEL`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import Adapter, CacheChoice, Manifest
from edgephi.ort.device_names import DeviceName
from edgephi_bench.engines.peer_requests import takes_requests
from edgephi_bench.engines.peers import PeerSpec
from edgephi_bench.latency.own_prompts import OwnPrompt

Part = Literal["load", "requests", "prefill", "decode", "threads", "memory", "output", "repeat"]
PARTS: tuple[Part, ...] = get_args(Part)
_SHORTEST_AUDIO_S, _LONGEST_AUDIO_S = 0.1, 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """The parts to measure, and how often.

    Attributes:
        model: The model folder.
        threads: Of every runner.
        parts: What is measured.
        runs: Counted ones of each.
        warmup: Runs before them that do not count.
        delay_s: Rest before every turn, besides the moment that thread pools need.
        prompt_tokens: Of prompts that are read, and about so many in text requests.
        new_tokens: Generated in each run; between n there are n - 1 steps.
        depths: Cached positions before the steps.
        thread_counts: Numbers of threads to compare at the first depth.
        audio_s: Lengths of audio.
        images: Widths and heights of images.
        prompts: The user's own.
        memory_context: Positions of the request whose memory is measured.
        drop_cache: Whether the model's files may be dropped from the page cache, to load it cold.
        kv_cache: What edgephi keeps keys and values in.
        memory_bytes: What each of edgephi's processes may hold; None for no limit.
        device: What edgephi runs on; not `auto`.
        peers: TaskResult in turn with edgephi.
        repeats: New processes that measure the first decode again, for the report's A/A level.
    """

    model: Path
    threads: int
    parts: frozenset[Part] = frozenset(PARTS)
    runs: int = 5
    warmup: int = 1
    delay_s: float = 0.0
    prompt_tokens: tuple[int, ...] = (512,)
    new_tokens: tuple[int, ...] = (32,)
    depths: tuple[int, ...] = (0, 1000, 4000)
    thread_counts: tuple[int, ...] = ()
    audio_s: tuple[float, ...] = (10.0,)
    images: tuple[tuple[int, int], ...] = ((1344, 1008),)
    prompts: tuple[OwnPrompt, ...] = ()
    memory_context: int = 512
    drop_cache: bool = False
    kv_cache: CacheChoice = "auto"
    memory_bytes: int | None = None
    device: DeviceName = "cpu"
    peers: tuple[PeerSpec, ...] = ()
    repeats: int = 3

    def __post_init__(self) -> None:
        if min(self.new_tokens) < 2:
            raise ConfigError(f"--new-tokens is {min(self.new_tokens)}; between tokens there is a step: use 2 or more")
        if min(self.prompt_tokens) < 1:
            raise ConfigError(f"--prompt-tokens is {min(self.prompt_tokens)}; use 1 or more")
        for name in ("threads", "runs", "memory_context"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; use 1 or more")
        for peer in self.peers:
            known = ("prefill", "decode", "memory", *(["requests"] if takes_requests(peer) else []))
            if not self.parts & set(known):
                raise ConfigError(f"{peer.name} is measured in {', '.join(known)}; --only leaves none of them")

    def engine(self, threads: int | None = None) -> dict[str, Any]:
        """The settings that our workers are opened with; `threads` None for the plan's own."""
        options: dict[str, Any] = {
            "model": str(self.model),
            "threads": threads or self.threads,
            "kv_cache": self.kv_cache,
            "device": self.device,
        }
        return options if self.memory_bytes is None else options | {"memory_bytes": self.memory_bytes}

    @property
    def longest(self) -> int:
        """Positions of the longest sequence that runners are asked for in turn."""
        deepest = max(self.depths, default=0) if "decode" in self.parts else 0
        read = max(self.prompt_tokens) if "prefill" in self.parts else 0
        return max(deepest + max(self.new_tokens), read) + 1


def routed_adapters(manifest: Manifest) -> tuple[Adapter, ...]:
    """The adapters that are switched on per request, and so cost something per step."""
    if manifest.adapters.mode != "routed":
        return ()
    return tuple(info.name for info in manifest.adapters.available)


def parse_counts(text: str, option: str) -> tuple[int, ...]:
    """Ascending numbers from a comma-separated list; `k` is a thousand.

    Raises:
        ConfigError: Something else, or nothing.
    """
    counts = set()
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(k?)\s*", item, re.IGNORECASE)
        if not found:
            raise ConfigError(f"{option} is {text!r}; use numbers with commas between, such as 0,1k,4k")
        counts.add(int(found[1]) * (1000 if found[2] else 1))
    return tuple(sorted(counts))


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Widths and heights from `640x480,1344x1008`, each once.

    Raises:
        ConfigError: Something else.
    """
    sizes = []
    for item in text.split(","):
        found = re.fullmatch(r"\s*([1-9]\d*)x([1-9]\d*)\s*", item)
        if not found:
            raise ConfigError(f"--image is {text!r}; use WIDTHxHEIGHT, such as 1344x1008, with commas between several")
        sizes.append((int(found[1]), int(found[2])))
    return tuple(dict.fromkeys(sizes))


def parse_seconds(text: str) -> tuple[float, ...]:
    """Lengths of audio from `5,30`, each once.

    Raises:
        ConfigError: Something else, or a length that is out of range.
    """
    found = []
    for item in text.split(","):
        try:
            seconds = float(item)
        except ValueError:
            raise ConfigError(f"--audio-s is {text!r}; use seconds with commas between, such as 5,30") from None
        if not _SHORTEST_AUDIO_S <= seconds <= _LONGEST_AUDIO_S:
            raise ConfigError(f"--audio-s is {seconds:g}; use {_SHORTEST_AUDIO_S:g} to {_LONGEST_AUDIO_S:g} seconds")
        found.append(seconds)
    return tuple(dict.fromkeys(found))


def parse_parts(text: str | None) -> frozenset[Part]:
    """The parts of a comma-separated list; all for None.

    Raises:
        ConfigError: An unknown one.
    """
    if text is None:
        return frozenset(PARTS)
    names = {name.strip() for name in text.split(",")}
    if unknown := sorted(names - set(PARTS)):
        raise ConfigError(f"--only names {unknown[0]!r}; known: {', '.join(PARTS)}")
    return frozenset(part for part in PARTS if part in names)
