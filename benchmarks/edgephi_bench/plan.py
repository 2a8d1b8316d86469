"""What one `edgephi bench MODEL` measures.

Owns the choices, their limits, and which modes a model folder can be asked in. Knows nothing about measuring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edgephi.errors import ConfigError
from edgephi.manifest import AdapterName, CacheKind, Manifest
from edgephi.mode import choose_route
from edgephi_bench.peer_requests import takes_requests
from edgephi_bench.peers import PeerSpec

Part = Literal["load", "requests", "prefill", "decode", "threads", "memory", "output"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Modes that are measured, and their pictures and clips.
MODES = {"text": (0, 0), "speech": (0, 1), "vision": (1, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is measured and how often.

    Attributes:
        model: The model folder.
        threads: Of every runner.
        parts: What is measured.
        runs: Counted ones of each, after one to warm up.
        prompt_tokens: Of prompts that are read, and about so many in a text request.
        new_tokens: Generated in each run; between n there are n - 1 steps.
        depths: Cached positions before the steps.
        thread_counts: Numbers of threads to compare at the first depth.
        audio_s: Length of the clip.
        image: Width and height of the picture.
        memory_context: Positions of the request whose memory is measured.
        drop_cache: Whether the model's files may be dropped from the page cache, to load it cold.
        kv_cache: What edgephi keeps keys and values in.
        peers: Measured in turn with edgephi.
    """

    model: Path
    threads: int
    parts: frozenset[Part] = frozenset(PARTS)
    runs: int = 5
    prompt_tokens: int = 512
    new_tokens: int = 32
    depths: tuple[int, ...] = (0, 1000, 4000)
    thread_counts: tuple[int, ...] = ()
    audio_s: float = 10.0
    image: tuple[int, int] = (1344, 1008)
    memory_context: int = 512
    drop_cache: bool = False
    kv_cache: CacheKind = "float"
    peers: tuple[PeerSpec, ...] = ()

    def __post_init__(self) -> None:
        if self.new_tokens < 2:
            raise ConfigError(f"--new-tokens is {self.new_tokens}; between tokens there is a step, so use 2 or more")
        for name in ("threads", "runs", "prompt_tokens", "memory_context"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; use 1 or more")
        for peer in self.peers:
            known = ("prefill", "decode", "memory", *(["requests"] if takes_requests(peer) else []))
            if not self.parts & set(known):
                raise ConfigError(f"{peer.name} is measured in {', '.join(known)}; --only leaves none of them")

    def engine(self, threads: int | None = None) -> dict[str, Any]:
        """What our workers are opened with; `threads` None for the plan's own."""
        return {"model": str(self.model), "threads": threads or self.threads, "kv_cache": self.kv_cache}

    @property
    def longest(self) -> int:
        """Positions of the longest sequence that runners are asked for in turn."""
        deepest = max(self.depths, default=0) if "decode" in self.parts else 0
        read = self.prompt_tokens if "prefill" in self.parts else 0
        return max(deepest + self.new_tokens, read) + 1


def modes(manifest: Manifest) -> tuple[str, ...]:
    """The modes in which a model folder answers by its own rule."""
    found = []
    for mode, (num_images, num_audio) in MODES.items():
        try:
            choose_route(manifest, num_images=num_images, num_audio=num_audio)
        except ConfigError:
            continue
        found.append(mode)
    return tuple(found)


def routed_adapters(manifest: Manifest) -> tuple[AdapterName, ...]:
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


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from `1344x1008`.

    Raises:
        ConfigError: Something else.
    """
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise ConfigError(f"--image is {text!r}; use WIDTHxHEIGHT, such as 1344x1008")
    return int(found[1]), int(found[2])


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
