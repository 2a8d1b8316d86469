"""The bytes that a decode step must read from memory: the least time it can take.

They are those that `edgephi doctor` states: weights as ONNX Runtime holds them once packed, not as they lie on disk.
Every weight of the decoder is read once per token; of the embedding only one row is, but the head that shares its bytes
is read whole. Activations stay in the caches of the processor and are not counted.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter, CacheChoice
from edgephi.inspection.footprint import memory_estimates
from edgephi_bench.measure.condition import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBytes:
    """The bytes that one step reads.

    Attributes:
        weights: Of the decoder, with the head and the adapter that is on.
        kv_per_position: Keys and values of one cached position.
    """

    weights: int
    kv_per_position: int

    def at(self, depth: float) -> float:
        """Bytes of a step after `depth` cached positions."""
        return self.weights + self.kv_per_position * depth


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineRound:
    """One round: both numbers were taken within a second or two, with as many threads.

    Attributes:
        bandwidth: Bytes per second that were read from memory just before and just after the steps, their mean.
        mean_step_s: Of edgephi's steps.
    """

    bandwidth: float
    mean_step_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The floor of the steps that were measured at one depth, and how near they came.

    Attributes:
        mode: `text`, or the modality whose adapter was on.
        condition: Of the figure.
        num_bytes: Of the middle one of the steps.
        rounds: What was read and how long steps took, round by round.
        best_bandwidth: Bytes per second of the fastest pass over memory in the whole run, with as many threads.
        median_s: Of all steps.
    """

    mode: str
    condition: Condition
    num_bytes: float
    rounds: tuple[RooflineRound, ...]
    best_bandwidth: float
    median_s: float

    def __post_init__(self) -> None:
        if not self.rounds:
            raise ValueError(f"the floor of {self.condition} has no rounds")

    @property
    def bandwidth(self) -> float:
        """Bytes per second: the middle of the rounds."""
        return statistics.median(item.bandwidth for item in self.rounds)

    @property
    def floor_s(self) -> float:
        """The time that reading takes at the speed of the middle round."""
        return self.num_bytes / self.bandwidth

    @property
    def reached(self) -> float:
        """The middle over the rounds of that round's floor over that round's mean step; 1.0 where they are equal.

        Roofline and step of a round share the same second of the machine, so its changes of speed cancel out.
        """
        return statistics.median(self.num_bytes / item.bandwidth / item.mean_step_s for item in self.rounds)

    @property
    def reached_of_best(self) -> float:
        """The same for the median step against the best speed of memory that was ever seen: never kinder."""
        return self.num_bytes / self.best_bandwidth / self.median_s


def step_bytes(bundle: Bundle, adapter: Adapter = "none", kv_cache: CacheChoice = "float") -> StepBytes:
    """The bytes that a decode step of this model reads.

    Raises:
        ArtifactError: The list of its tensors is damaged.
        ConfigError: It has no graphs for `kv_cache`.
    """
    estimates = memory_estimates(bundle, kv_cache)
    if adapter == "none":  # a folder with a merged adapter has no text mode, and reads no more for it
        estimate = min(estimates, key=lambda item: item.step_bytes)
    else:
        estimate = next(item for item in estimates if item.mode == adapter)
    return StepBytes(weights=estimate.step_bytes, kv_per_position=estimate.position_bytes)
