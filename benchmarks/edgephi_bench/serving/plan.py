"""The choices of `edgephi bench serve` and their limits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from edgephi.base.errors import ConfigError
from edgephi_bench.latency.plan import BenchPlan
from edgephi_bench.latency.request_kinds import RequestKind, requests_of
from edgephi_bench.measure.condition import Condition

Side = Literal["server", "direct"]
SIDES: tuple[Side, ...] = get_args(Side)
#: `edgephi serve` accepts no more connections at once.
MOST_CLIENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """The measurements of a server.

    Attributes:
        bench: The model folder, how it runs, the kinds of requests, and how often each is counted.
        clients: Numbers of clients that ask at once, ascending.
        questions: Short questions while another client asks about images.
    """

    bench: BenchPlan
    clients: tuple[int, ...]
    questions: int = 0

    def __post_init__(self) -> None:
        for count in self.clients:
            if not 1 <= count <= MOST_CLIENTS:
                raise ConfigError(f"--clients is {count}; a server takes 1 to {MOST_CLIENTS} at once")
        bench = self.bench
        for option, values in (
            ("--prompt-tokens", bench.prompt_tokens),
            ("--new-tokens", bench.new_tokens),
            ("--audio-s", bench.audio_s),
            ("--image", bench.images),
        ):
            if len(values) != 1:
                raise ConfigError(f"{option} has {len(values)} values; a server is measured with one of each")

    @property
    def new_tokens(self) -> int:
        """Generated for each request."""
        return self.bench.new_tokens[0]

    def kinds(self, modes: tuple[str, ...]) -> tuple[RequestKind, ...]:
        """One kind of request for each mode of the model.

        Raises:
            ConfigError: There is none with an image, and there are to be questions beside it.
        """
        if self.questions and "vision" not in modes:
            raise ConfigError(f"--questions is {self.questions}, and this folder takes no images to ask beside; use 0")
        return requests_of(self.bench, modes)


def condition_of(kind: RequestKind, clients: int) -> Condition:
    """Of the figures of a kind of request."""
    return dataclasses.replace(kind.condition, clients=clients)
