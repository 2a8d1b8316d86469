"""Transcripts in the form that the Open ASR Leaderboard's scorer reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ConfigError
from edgephi.base.output_file import staged_file
from edgephi_evaluate.report.runs import RunReport
from edgephi_evaluate.runs.record import ItemRecord

_DATASETS = {"openasr-2025": "hf-audio-esb-datasets-test-only-sorted", "openasr-2026": "hf-audio-open-asr-leaderboard"}


def write_manifests(reports: Sequence[RunReport], folder: Path) -> None:
    """Write a file for each part of each OpenASR suite: `MODEL_{id}_DATASET_{data set}_{name}_{split}.jsonl`.

    Raises:
        ConfigError: No run has such a suite.
        EdgeError: A file cannot be written.
    """
    found = [
        (report.name, summary.suite, records)
        for report in reports
        for summary, records in zip(report.summaries, report.records, strict=True)
        if summary.suite in _DATASETS
    ]
    if not found:
        raise ConfigError(f"--manifests {folder}: no run of {' or '.join(_DATASETS)} is reported")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for model, suite, records in found:
        for part in sorted({record.part for record in records}):
            name, _, split = part.partition(" ")
            path = folder / f"MODEL_{model}_DATASET_{_DATASETS[suite]}_{name}_{split or 'test'}.jsonl"
            lines = [_line(record) for record in records if record.part == part]
            with writing(path), staged_file(path) as stream:
                stream.write("".join(lines).encode())


def _line(record: ItemRecord) -> str:
    entry = {
        "audio_filepath": record.media[0] if record.media else record.id,
        "duration": record.audio_s,
        "time": None if record.seconds is None else record.seconds.total,
        "text": record.answers[0],
        "pred_text": record.reply,
    }
    return json.dumps(entry, ensure_ascii=False) + "\n"
