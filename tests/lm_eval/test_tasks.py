"""lm-evaluation-harness asks a model folder: its marks must be those of the model asked directly.

The harness has an environment of its own, which `make lm-eval` makes.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from edgephi import Model, SamplingOptions
from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.runs.folder import read_records, suite_folder
from support.bundles import nano_bundle

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/lm-eval/bin/python"
WORDS = ("red", "lamp", "open", "tree", "cat", "small", "kitchen", "door", "green", "heater")
ROWS = 10
WRONG = "red lamp open"

pytestmark = pytest.mark.lm_eval


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(nano_bundle()) as loaded:
        yield loaded


def _rows() -> list[dict[str, str]]:
    """Half of the right answers are not what was asked for, so that marks differ."""
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=3)) for _ in range(ROWS)]
    return [
        {"question": f"Repeat: {text}", "answer": text if number % 2 else " ".join(reversed(text.split()))}
        for number, text in enumerate(texts)
    ]


def _write(folder: Path) -> Path:
    tasks = folder / "lm-eval"
    tasks.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()), encoding="utf-8")
    common = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'rows.jsonl'}}}}}\ntest_split: test\n"
    )
    common += 'doc_to_text: "{{question}}"\n'
    mean = "aggregation: mean, higher_is_better: true"
    (tasks / "replies.yaml").write_text(
        f'task: nano_replies\n{common}output_type: generate_until\ndoc_to_target: "{{{{answer}}}}"\n'
        f"generation_kwargs: {{until: [], max_gen_toks: 32}}\nmetric_list: [{{metric: exact_match, {mean}}}]\n"
    )
    (tasks / "options.yaml").write_text(
        f"task: nano_options\n{common}output_type: multiple_choice\n"
        f"doc_to_choice: \"{{{{[answer, '{WRONG}']}}}}\"\ndoc_to_target: 0\nmetric_list: [{{metric: acc, {mean}}}]\n"
    )
    return folder


def _evaluate(data: Path, run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from edgephi.__main__ import program; program()"
    command = [str(PYTHON), "-c", program, "evaluate", str(nano_bundle()), *arguments, "--data", str(data)]
    return subprocess.run([*command, "-o", str(run)], capture_output=True, text=True, check=False, timeout=300)


def _reply(model: Model, question: str) -> str:
    return model.generate(question, options=SamplingOptions.greedy(max_new_tokens=32, speculation=False)).text


def _likelihood(model: Model, question: str, answer: str) -> float:
    tokenizer = Tokenizer.from_file(str(nano_bundle() / "tokenizer.json"))
    prompt = tokenizer.encode(f"<|user|>{question}<|end|><|assistant|>", add_special_tokens=False).ids
    ids = tokenizer.encode(answer, add_special_tokens=False).ids
    rows = model.logits(prompt + ids, rows="all")[len(prompt) - 1 : -1].astype(np.float64)
    logs = (
        rows - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True)) - rows.max(-1, keepdims=True)
    )
    return float(logs[np.arange(len(ids)), ids].sum())


def test_marks_are_those_of_the_model_asked_directly_and_a_run_goes_on(model: Model, tmp_path: Path):
    data, run = _write(tmp_path / "data"), tmp_path / "run"
    names = ("lm-eval:nano_replies", "lm-eval:nano_options")
    done = _evaluate(data, run, *names)
    assert done.returncode == 0, done.stderr
    rows = _rows()
    replies = {record.id.rpartition("/")[2]: record for record in read_records(suite_folder(run, names[0]))}
    assert {n: record.counts[0] for n, record in replies.items()} == {
        str(n): float(_reply(model, row["question"]) == row["answer"]) for n, row in enumerate(rows)
    }
    options = {record.id.rpartition("/")[2]: record for record in read_records(suite_folder(run, names[1]))}
    assert {n: record.counts[0] for n, record in options.items()} == {
        str(n): float(_likelihood(model, row["question"], row["answer"]) > _likelihood(model, row["question"], WRONG))
        for n, row in enumerate(rows)
    }
    values = {one.suite: one.whole.estimate.value for one in read_reports((run,), None)[0].summaries}
    assert 30 <= values[names[0]] <= 60
    assert values[names[1]] >= 50
    before = [(suite_folder(run, name) / "items-1-of-1.jsonl").read_bytes() for name in names]
    for name in names:  # the harness's own cache of requests gives the same answers
        (suite_folder(run, name) / "items-1-of-1.jsonl").unlink()
    assert _evaluate(data, run, *names).returncode == 0
    assert [(suite_folder(run, name) / "items-1-of-1.jsonl").read_bytes() for name in names] == before


def test_a_task_that_the_harness_does_not_know_is_one_line(tmp_path: Path):
    done = _evaluate(_write(tmp_path / "data"), tmp_path / "run", "lm-eval:nano_replise")
    assert done.returncode == 2
    assert "lm-eval:nano_replise: the harness cannot run it" in done.stderr.splitlines()[-1]
    done = _evaluate(tmp_path / "data", tmp_path / "run", "lm-eval:nano_replies", "--shard", "1/2")
    assert done.returncode == 2
    assert "leave --shard out" in done.stderr
