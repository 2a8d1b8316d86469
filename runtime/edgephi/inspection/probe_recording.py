"""Makes the record of `edgephi probe` from samples that the model answers right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import NOT_AS_RECORDED, EdgeError
from edgephi.bundle.manifest import TokenInfo
from edgephi.generation.reply import Reply
from edgephi.inspection.probe import read_prompt, reply_logits, this_machine
from edgephi.inspection.probe_record import (
    NUM_TOP,
    SCHEMA,
    CaseRequest,
    HeadRow,
    ProbeCase,
    ProbeRecord,
    RecordedRow,
    media_file,
)
from edgephi.inspection.sample_run import SampleResult, run_samples
from edgephi.inspection.samples import Sample
from edgephi.model import Model

#: Tokens compared of a long reply; later ones would meet no weights that these do not.
_MOST_TOKENS = 48


class WrongAnswerError(EdgeError):
    """The model does not give a sample's expected answer, so its logits are nothing to compare with."""

    exit_code = NOT_AS_RECORDED


def record_cases(model: Model, samples: Sequence[Sample], folder: Path) -> Iterator[tuple[ProbeCase, HeadRow]]:
    """Each sample with the model's logits for its answer, and every logit of the answer's first token.

    Args:
        model: Answers.
        samples: From `read_samples(folder)`.
        folder: Holds their media.

    Raises:
        WrongAnswerError: An answer is not the expected one.
        EdgeError: A sample cannot be answered.
    """
    for result in run_samples(model, samples, folder):
        token_ids = _beginning(_right(result).token_ids, model.manifest.tokens)
        request = _request(result.sample, folder)
        prompt = read_prompt(model, request, folder)
        prompt_ids = tuple(map(int, prompt.token_ids))
        logits = reply_logits(model, prompt, token_ids)
        rows = tuple(map(_row, logits))
        case = ProbeCase(request=request, prompt_ids=prompt_ids, token_ids=token_ids, rows=rows)
        yield case, HeadRow.of(logits[0])


def record_of(cases: Sequence[tuple[ProbeCase, HeadRow]]) -> ProbeRecord:
    """The record of this machine, without limits."""
    return ProbeRecord(schema=SCHEMA, machine=this_machine(), cases=tuple(case for case, _ in cases), head=cases[0][1])


def record_json(record: ProbeRecord) -> str:
    """The text of `cases.json`."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, sort_keys=True) + "\n"


def _right(result: SampleResult) -> Reply:
    if result.reply is None:
        raise EdgeError(f"the sample {result.sample.title!r} cannot be answered: {result.error}")
    if not result.right:
        raise WrongAnswerError(
            f"the sample {result.sample.title!r} was answered {result.reply.text!r}, expected "
            f"{result.sample.expected!r}; record only what the model answers right"
        )
    return result.reply


def _beginning(token_ids: tuple[int, ...], tokens: TokenInfo) -> tuple[int, ...]:
    """What is compared of a reply. A media token in a prompt stands for media, so none may be followed by others."""
    media = [index for index, token in enumerate(token_ids) if token in (tokens.image, tokens.audio)]
    return token_ids[: min([_MOST_TOKENS, *(index + 1 for index in media)])]


def _request(sample: Sample, folder: Path) -> CaseRequest:
    return CaseRequest(
        mode=sample.mode,
        title=sample.title,
        prompt=sample.prompt,
        system=sample.system,
        tools=sample.tools,
        images=() if sample.image is None else (media_file(folder, sample.image),),
        audio=() if sample.audio is None else (media_file(folder, sample.audio),),
    )


def _row(logits: NDArray[np.float64]) -> RecordedRow:
    ids = np.argsort(-logits, kind="stable")[:NUM_TOP]
    return RecordedRow(
        ids=tuple(map(int, ids)), logits=tuple(round(float(one), 5) for one in logits[ids]), sd=float(logits.std())
    )
