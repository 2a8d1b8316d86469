"""The part of a manifest that says how close the folder was to its reference when `edgephi fidelity` measured it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFidelityInfo:
    """Requests of one mode.

    Attributes:
        mode: Which media they had.
        examples: How many.
        kl: Mean KL divergence of a next-token distribution from the reference's, in nats.
        kl_p99: Its 99th percentile.
        top1: Share of positions where the likeliest token is the reference's.
        perplexity_ratio: Perplexity over the reference's.
        exact_match: Share of greedy replies that are the reference's.
        loop_rate: Share of greedy replies that end in a loop.
        noise_kl: `kl` of the reference beside itself with another number of threads.
    """

    mode: str
    examples: int
    kl: float
    kl_p99: float
    top1: float
    perplexity_ratio: float
    exact_match: float
    loop_rate: float
    noise_kl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityInfo:
    """One measurement.

    Attributes:
        reference: The folder that it was compared with, and its recipe.
        reference_sha256: Of that folder's manifest.
        examples_sha256: Of the examples.
        generator: What measured it.
        date: When, in UTC.
        kv_cache: What keys and values were kept in.
        modes: The figures of each mode.
    """

    reference: str
    reference_sha256: str
    examples_sha256: str
    generator: str
    date: str
    kv_cache: str
    modes: tuple[ModeFidelityInfo, ...]
