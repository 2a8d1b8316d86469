"""From the outcomes of examples to the figures of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgephi.prompt.routing import Mode
from edgephi_export.calibration.examples import Example, Measure
from edgephi_export.fidelity.divergence import Divergence
from edgephi_export.fidelity.estimates import Estimate, mean_of_sums, rate, rate_increase
from edgephi_export.fidelity.outcomes import ModelOutcome, ReferenceOutcome, ReplyOutcome
from edgephi_export.fidelity.replies import common_prefix, is_loop
from edgephi_export.fidelity.report import (
    ForcedFigures,
    FreeFigures,
    LengthFigures,
    ModeFigures,
    NoiseFloor,
    TaskFigures,
)  # fmt: skip
from edgephi_export.fidelity.text_errors import TextErrors, text_errors

#: Seconds of audio: a model that fails on long recordings must not hide behind short ones.
_LENGTHS_S = (5.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedExample:
    """An example with its outcomes under both models."""

    example: Example
    reference: ReferenceOutcome
    forced: Divergence
    reply: ReplyOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRun:
    """The outcomes of the reference with another number of threads, by the examples' digests."""

    threads: int
    outcomes: Mapping[str, ModelOutcome]


def mode_figures(mode: Mode, judged: Sequence[JudgedExample], noise: NoiseRun) -> ModeFigures:
    """The figures of all examples of one mode, of which there is one at least."""
    return ModeFigures(
        mode=mode,
        examples=len(judged),
        forced=_forced([one.forced for one in judged]),
        free=_free(judged),
        noise=_noise(
            [noise.outcomes[d].forced for one in judged if (d := one.example.digest) in noise.outcomes], noise
        ),
    )


def _forced(results: Sequence[Divergence]) -> ForcedFigures:
    kl = np.array([value for one in results for value in one.kl])
    counts, tokens = [len(one.kl) for one in results], [len(one.surprisal) for one in results]
    surprisal = mean_of_sums([math.fsum(one.surprisal) for one in results], tokens).value
    wanted = mean_of_sums([math.fsum(one.reference_surprisal) for one in results], tokens).value
    loss = mean_of_sums([math.fsum(one.surprisal) - math.fsum(one.reference_surprisal) for one in results], tokens)
    ratio = math.exp(loss.value)
    return ForcedFigures(
        positions=len(kl),
        kl=_mean_kl(results),
        kl_median=float(np.median(kl)),
        **{name: float(np.percentile(kl, tail)) for name, tail in (("kl_p95", 95), ("kl_p99", 99), ("kl_p999", 99.9))},
        kl_max=float(kl.max()),
        top1=mean_of_sums([sum(one.agrees) for one in results], counts),
        perplexity=math.exp(surprisal),
        reference_perplexity=math.exp(wanted),
        perplexity_ratio=Estimate(value=ratio, error=None if loss.error is None else ratio * loss.error),
    )


def _mean_kl(results: Sequence[Divergence]) -> Estimate:
    return mean_of_sums([math.fsum(one.kl) for one in results], [len(one.kl) for one in results])


def _free(judged: Sequence[JudgedExample]) -> FreeFigures:
    ones = [1] * len(judged)
    pairs = [(one.reply.token_ids, one.reference.reply.token_ids) for one in judged]
    shares = [common_prefix(*pair) / max(len(pair[1]), 1) if pair[1] else float(not pair[0]) for pair in pairs]
    replies, wanted = [one.reply for one in judged], [one.reference.reply for one in judged]
    return FreeFigures(
        exact_match=mean_of_sums([float(found == expected) for found, expected in pairs], ones),
        common_prefix=mean_of_sums(shares, ones),
        loop_rate=_share([is_loop(one.token_ids) for one in replies]),
        reference_loop_rate=_share([is_loop(one.token_ids) for one in wanted]),
        missing_end=_share([not one.is_ended for one in replies]),
        reference_missing_end=_share([not one.is_ended for one in wanted]),
        decode_tok_s=_decode_rate(replies),
        reference_decode_tok_s=_decode_rate(wanted),
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _decode_rate(replies: Sequence[ReplyOutcome]) -> float | None:
    tokens, seconds = sum(one.new_tokens - 1 for one in replies), sum(one.decode_s for one in replies)
    return tokens / seconds if tokens > 0 and seconds > 0 else None


def _noise(results: Sequence[Divergence], noise: NoiseRun) -> NoiseFloor:
    kl = [value for one in results for value in one.kl]
    agrees = [value for one in results for value in one.agrees]
    return NoiseFloor(
        examples=len(results),
        threads=noise.threads,
        kl=math.fsum(kl) / len(kl),
        kl_max=max(kl),
        top1=_share(agrees),
    )


def task_figures(judged: Sequence[JudgedExample]) -> tuple[TaskFigures, ...]:
    """The figures of every group that is judged, in the order in which the groups first come."""
    groups: dict[tuple[str, Measure, Mode], list[JudgedExample]] = {}
    for one in judged:
        if one.example.measure is not None:
            groups.setdefault((one.example.group, one.example.measure, one.example.mode), []).append(one)
    return tuple(_task(key, members) for key, members in groups.items())


def _task(key: tuple[str, Measure, Mode], members: Sequence[JudgedExample]) -> TaskFigures:
    group, measure, mode = key
    found = [text_errors(one.example.answer or "", one.reply.text, measure) for one in members]
    wanted = [text_errors(one.example.answer or "", one.reference.reply.text, measure) for one in members]
    units = [one.units for one in found]
    errors, before = [one.total for one in found], [one.total for one in wanted]
    return TaskFigures(
        group=group,
        measure=measure,
        mode=mode,
        examples=len(members),
        kl=_mean_kl([one.forced for one in members]),
        units=sum(units),
        substitutions=sum(one.substitutions for one in found),
        deletions=sum(one.deletions for one in found),
        insertions=sum(one.insertions for one in found),
        error_rate=rate(errors, units),
        reference_error_rate=rate(before, units),
        increase=rate_increase(errors, before, units),
        by_length=_by_length([one.reference.audio_s for one in members], found, wanted),
    )


def _by_length(
    lengths_s: Sequence[float], found: Sequence[TextErrors], wanted: Sequence[TextErrors]
) -> tuple[LengthFigures, ...]:
    """The error rates by the length of the audio; nothing where all have about the same."""
    bins: dict[float, list[int]] = {}
    for place, length_s in enumerate(lengths_s):
        if length_s > 0:
            bins.setdefault(next((most for most in _LENGTHS_S if length_s <= most), math.inf), []).append(place)
    if len(bins) < 2:
        return ()
    return tuple(
        LengthFigures(
            up_to_s=None if most == math.inf else most,
            examples=len(places),
            error_rate=_rate([found[place] for place in places]),
            reference_error_rate=_rate([wanted[place] for place in places]),
        )
        for most, places in sorted(bins.items())
    )


def _rate(errors: Sequence[TextErrors]) -> float:
    return sum(one.total for one in errors) / max(sum(one.units for one in errors), 1)
