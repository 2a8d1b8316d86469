"""The fidelity report: model folders beside their reference. Shares are 0 to 1, KL is in nats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgephi.prompt.routing import Mode
from edgephi_export.calibration.examples import Measure
from edgephi_export.fidelity.estimates import Estimate, Interval
from edgephi_export.fidelity.subject import FolderFacts

SCHEMA_VERSION = 1
PartKind = Literal["layer", "tensors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedFigures:
    """Teacher-forced: how every token of the answers was predicted.

    Attributes:
        positions: Answer tokens and ends.
        kl: Mean.
        kl_median: Of all positions, as the following.
        kl_p95: 95th percentile.
        kl_p99: 99th percentile.
        kl_p999: 99.9th percentile.
        kl_max: The largest.
        top1: Share of positions where the likeliest token is the reference's.
        perplexity: Of the answers' tokens.
        reference_perplexity: The same of the reference.
        perplexity_ratio: The first over the second.
    """

    positions: int
    kl: Estimate
    kl_median: float
    kl_p95: float
    kl_p99: float
    kl_p999: float
    kl_max: float
    top1: Estimate
    perplexity: float
    reference_perplexity: float
    perplexity_ratio: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeFigures:
    """Free-running: greedy replies beside the reference's.

    Attributes:
        exact_match: Share of replies that are the reference's token for token.
        common_prefix: Mean share of the reference's reply that a reply begins with.
        loop_rate: Share of replies that end in a loop.
        reference_loop_rate: The same of the reference.
        missing_end: Share of replies that only the limit of tokens ended.
        reference_missing_end: The same of the reference.
        decode_tok_s: Tokens per second after the first, over all replies; None where none has two.
        reference_decode_tok_s: The same of the reference.
    """

    exact_match: Estimate
    common_prefix: Estimate
    loop_rate: float
    reference_loop_rate: float
    missing_end: float
    reference_missing_end: float
    decode_tok_s: float | None
    reference_decode_tok_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """A/A: the reference beside itself with other threads and shorter passes, on a part of the examples."""

    examples: int
    threads: int
    kl: float
    kl_max: float
    top1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFigures:
    """All examples of one mode."""

    mode: Mode
    examples: int
    forced: ForcedFigures
    free: FreeFigures
    noise: NoiseFloor


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthFigures:
    """The error rates of recordings up to a length, and longer than those before; None is the rest."""

    up_to_s: float | None
    examples: int
    error_rate: float
    reference_error_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """Replies judged by the right answers.

    Attributes:
        group: The examples' set.
        measure: How they are judged.
        mode: Of the examples.
        examples: How many.
        kl: Mean KL along the answers of this set.
        units: Words, characters or answers in all.
        substitutions: See TextErrors.
        deletions: Likewise.
        insertions: Likewise.
        error_rate: Errors over units.
        reference_error_rate: The same of the reference.
        increase: The first less the second, the same examples being drawn for both.
        by_length: Of recordings, where there are several lengths.
    """

    group: str
    measure: Measure
    mode: Mode
    examples: int
    kl: Estimate
    units: int
    substitutions: int
    deletions: int
    insertions: int
    error_rate: Interval
    reference_error_rate: Interval
    increase: Interval
    by_length: tuple[LengthFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeKl:
    """Mean KL of one mode."""

    mode: Mode
    kl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFigures:
    """The reference with only a part of its weights taken from the folder.

    Attributes:
        kind: A `layer` of the decoder, or `tensors` of one kind.
        name: `layer 3`, the tensors' name without the layer, or the component.
        tensors: How many.
        bytes: That the folder stores for them.
        kl: Of each mode, over a part of the examples.
    """

    kind: PartKind
    name: str
    tensors: int
    bytes: int
    kl: tuple[ModeKl, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFidelity:
    """One folder beside the reference.

    Attributes:
        folder: The folder.
        modes: By mode.
        tasks: By set of judged examples.
        parts: By part of the weights; empty unless that was asked for.
        failed: Requirements that it does not meet, in words.
    """

    folder: FolderFacts
    modes: tuple[ModeFigures, ...]
    tasks: tuple[TaskFigures, ...]
    parts: tuple[PartFigures, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSource:
    """The examples of a report.

    Attributes:
        path: Their folder; None for those that come with edgephi.
        sha256: Of all of them.
        examples: How many were used.
        left_out: How many were not, because a folder does not serve their mode.
    """

    path: str | None
    sha256: str
    examples: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityReport:
    """A whole comparison; `command` is the command line, program name first."""

    schema_version: int
    edgephi_version: str
    date: str
    cpu: str
    threads: int
    max_new_tokens: int
    command: tuple[str, ...]
    reference: FolderFacts
    examples: ExampleSource
    models: tuple[ModelFidelity, ...]
