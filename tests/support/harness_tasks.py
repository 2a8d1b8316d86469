"""Tasks for lm-evaluation-harness on nano, and what edgephi itself answers to them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from edgephi import Model, SamplingOptions
from support.bundles import nano_bundle

WORDS = ("red", "lamp", "open", "tree", "cat", "small", "kitchen", "door", "green", "heater")
ROWS = 10
WRONG = "red lamp open"


def rows() -> list[dict[str, str]]:
    """Half of the right answers are not what was asked for, so that marks differ."""
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=3)) for _ in range(ROWS)]
    return [
        {"question": f"Repeat: {text}", "answer": text if number % 2 else " ".join(reversed(text.split()))}
        for number, text in enumerate(texts)
    ]


def write_tasks(folder: Path) -> Path:
    """Two tasks over these rows in `folder/lm-eval`: `nano_replies` and `nano_options`."""
    tasks = folder / "lm-eval"
    tasks.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
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


def reply(model: Model, question: str) -> str:
    """What edgephi replies."""
    return model.generate(question, options=SamplingOptions.greedy(max_new_tokens=32, speculation=False)).text


def likelihood(model: Model, question: str, answer: str) -> float:
    """The natural logarithm of the answer's probability, by edgephi's logits."""
    tokenizer = Tokenizer.from_file(str(nano_bundle() / "tokenizer.json"))
    prompt = tokenizer.encode(f"<|user|>{question}<|end|><|assistant|>", add_special_tokens=False).ids
    ids = tokenizer.encode(answer, add_special_tokens=False).ids
    found = model.logits(prompt + ids, rows="all")[len(prompt) - 1 : -1].astype(np.float64)
    logs = (
        found
        - np.log(np.exp(found - found.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - found.max(-1, keepdims=True)
    )
    return float(logs[np.arange(len(ids)), ids].sum())
