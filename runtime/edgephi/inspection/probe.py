"""Whether a model answers on this machine as it was recorded, judged by its logits.

Each case is one forward pass over the prompt and the recorded reply: nothing is sampled, so a difference in one token
does not change those after it. Tokens alone would accept damage that leaves the likeliest one in its place.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgephi.base import hardware
from edgephi.base.units import human_bytes
from edgephi.generation.options import SamplingOptions
from edgephi.generation.timing import Timing, peak_rss_bytes
from edgephi.inspection.probe_record import CaseRequest, Limits, ProbeCase, ProbeRecord, RecordedMachine, RecordedRow
from edgephi.model import Model
from edgephi.ort.session import runtime
from edgephi.prompt.prompt import Prompt
from edgephi.request import Request
from edgephi.sources.source import ImageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How far one case is from its record.

    Attributes:
        case: The recorded one.
        worst_sd: The largest difference of a logit, in sd; infinite where the prompt has other token ids or a logit is
            not a finite number.
        wrong_tokens: Tokens that another would take the place of, though the record has them far enough before it.
        problem: Why it is refused; None where it is accepted.
    """

    case: ProbeCase
    worst_sd: float
    wrong_tokens: int
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Latency and memory of the cases.

    Attributes:
        ttft_ms: Of the slowest case; None where no reply was generated.
        step_ms: Of the slowest case; None where no reply was generated or none has two tokens.
        memory_bytes: Most memory of the process; None where the system does not state it.
    """

    ttft_ms: float | None
    step_ms: float | None
    memory_bytes: int | None

    def problems(self, limits: Limits) -> Iterator[str]:
        """A line for each limit that is exceeded."""
        for what, value, limit in (
            ("the first token", self.ttft_ms, limits.ttft_ms),
            ("a decode step", self.step_ms, limits.step_ms),
        ):
            if value is not None and limit is not None and value > limit:
                yield f"{what} took {value:,.0f} ms, the limit of the record is {limit:,.0f} ms"
        memory, most = self.memory_bytes, limits.memory_bytes
        if memory is not None and most is not None and memory > most:
            yield f"the process held {human_bytes(memory)}, the limit of the record is {human_bytes(most)}"


def this_machine() -> RecordedMachine:
    """What decides whether logits can be the same to the last digits."""
    kernels = "-".join([platform.machine(), *hardware.instruction_sets()])
    return RecordedMachine(kernels=kernels, onnxruntime=str(runtime().__version__))


def tolerance_sd(record: ProbeRecord) -> float:
    """The tolerance that holds on this machine."""
    return record.tolerance_sd.same if record.machine == this_machine() else record.tolerance_sd.other


def judge_cases(model: Model, record: ProbeRecord, folder: Path) -> Iterator[CaseResult]:
    """The result of each case in turn.

    Args:
        model: Answers.
        record: From `read_record(folder)`.
        folder: Holds the media.

    Raises:
        EdgeError: A case cannot be computed at all.
    """
    accepted = tolerance_sd(record)
    for index, case in enumerate(record.cases):
        prompt = read_prompt(model, case.request, folder)
        prompt_ids = tuple(map(int, prompt.token_ids))
        if prompt_ids == case.prompt_ids:
            logits = reply_logits(model, prompt, case.token_ids)
            yield _judged(case, logits, record.head.difference_sd(logits[0]) if index == 0 else 0.0, accepted)
        else:
            problem = f"the prompt's {len(prompt_ids):,} token ids are not the {len(case.prompt_ids):,} recorded"
            yield CaseResult(case=case, worst_sd=np.inf, wrong_tokens=0, problem=problem)


def _judged(case: ProbeCase, logits: NDArray[np.float64], head_sd: float, accepted: float) -> CaseResult:
    differences = [_difference_sd(row, values) for row, values in zip(case.rows, logits, strict=True)]
    worst = max(head_sd, *differences) if np.isfinite([head_sd, *differences]).all() else np.inf
    wrong = sum(
        int(values.argmax()) != row.ids[0] and row.margin_sd > 2 * accepted
        for row, values in zip(case.rows, logits, strict=True)
    )
    problem = None
    if not worst <= accepted:
        problem = f"a logit differs from the recorded by {worst:.3g} sd, {accepted:g} are accepted"
        problem += f"; {wrong:,} of {len(case.rows):,} tokens are others" if wrong else ""
    return CaseResult(case=case, worst_sd=worst, wrong_tokens=wrong, problem=problem)


def _difference_sd(row: RecordedRow, values: NDArray[np.float64]) -> float:
    """Of the recorded logits, and of any other token that would now be among them."""
    ids = np.array(row.ids)
    if ids.max() >= len(values) or not np.isfinite(values).all():
        return np.inf
    others = values.copy()
    others[ids] = -np.inf
    recorded = np.abs(values[ids] - np.array(row.logits)).max()
    return float(max(recorded, others.max() - row.logits[-1]) / row.sd)


def read_prompt(model: Model, request: CaseRequest, folder: Path) -> Prompt:
    """Token ids by this folder's template and tokenizer, and the features of the media.

    Raises:
        EdgeError: The request cannot be used.
    """
    images, audio = request.media_of(folder)
    return model.prepare(Request(request.messages(), images=images, audio=audio)).prompt


def reply_logits(model: Model, prompt: Prompt, reply_ids: Sequence[int]) -> NDArray[np.float64]:
    """float64 [R, V]: the logits from which each of R tokens of a reply is chosen.

    Args:
        model: Answers.
        prompt: From `read_prompt`.
        reply_ids: R token ids.

    Raises:
        EdgeError: They cannot be computed.
    """
    logits = model.logits(
        (*map(int, prompt.token_ids), *reply_ids[:-1]),
        images=cast("tuple[ImageSource, ...]", prompt.images),  # features are taken as well, as of audio
        audio=prompt.audio,
        adapter=prompt.adapter,
        max_crops=prompt.max_crops,
        rows=len(reply_ids),
    )
    return logits.astype(np.float64)


def measure(model: Model, record: ProbeRecord, folder: Path, *, with_replies: bool) -> Usage:
    """Latency and memory, after every part of the model was loaded by `judge_cases`.

    Args:
        model: Answers.
        record: Of the cases.
        folder: Holds the media.
        with_replies: Generate each reply, with nothing left in the caches, to measure latency.

    Raises:
        EdgeError: A case cannot be answered.
    """
    timings = [_timing(model, case, folder) for case in record.cases] if with_replies else []
    steps = [1000 * one.decode_s / (one.new_tokens - 1) for one in timings if one.new_tokens > 1]
    return Usage(
        ttft_ms=max((1000 * one.ttft_s for one in timings), default=None),
        step_ms=max(steps, default=None),
        memory_bytes=peak_rss_bytes() or None,
    )


def _timing(model: Model, case: ProbeCase, folder: Path) -> Timing:
    images, audio = case.request.media_of(folder)
    model.clear_cache()
    options = SamplingOptions.greedy(max_new_tokens=len(case.token_ids))
    return model.generate(case.request.messages(), images=images, audio=audio, options=options).timing
