"""optimum must load the exported folder unchanged and answer token by token as edgephi does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi import SamplingOptions
from edgephi_bench.engines.peers import PeerSpec, check_peer, open_peer
from edgephi_export import ExportOptions, export
from edgephi_export.runtimes.comparing import compare_with_runtime
from other_runtimes.optimum.conftest import NANO, Pair
from support.questions import questions, token_ids

pytestmark = pytest.mark.optimum

MOST_TOKENS = 32
#: LongRoPE's boundary, in nano as in the public models.
BOUNDARY = 4096


def _tensor(values: Any) -> Any:
    return importlib.import_module("torch").tensor(values)


def _logits(pair: Pair, ids: list[int]) -> NDArray[np.float32]:
    """float32 [S, V]."""
    got = pair.optimum(input_ids=_tensor([ids]), attention_mask=_tensor([[1] * len(ids)])).logits
    return got[0].numpy()


def test_fifty_questions_are_answered_with_the_same_tokens(pair: Pair):
    """Each side by its own tokenizer, chat template, cache and greedy search."""
    num_tokens = 0
    for question in questions(50):
        messages = [{"role": "user", "content": question}]
        prompt = pair.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        whole = pair.optimum.generate(**prompt, max_new_tokens=MOST_TOKENS, do_sample=False)
        answer = whole[0, prompt["input_ids"].shape[1] :].tolist()
        reply = pair.edgephi.generate(messages, options=SamplingOptions(max_new_tokens=MOST_TOKENS))
        assert answer == list(reply.token_ids), question
        assert pair.tokenizer.decode(answer, skip_special_tokens=True) == reply.text
        num_tokens += len(answer)
    assert num_tokens > 150  # replies that end at once would prove little


@pytest.mark.parametrize("length", [1, 20, BOUNDARY, BOUNDARY + 1, BOUNDARY + 60])
@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_every_row_has_edgephis_logits_beyond_the_boundary_too(pair: Pair, length: int):
    ids = token_ids(length)
    got, expected = _logits(pair, ids), pair.edgephi.logits(ids, rows="all")
    assert np.abs(got - expected).max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("length", [20, BOUNDARY + 1])
@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_logits_are_those_of_transformers(pair: Pair, length: int, tmp_path: Path):
    """The same weights in PyTorch, which share no code with the export but the tensors' bytes."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    torch.manual_seed(0)
    raw = pair.optimum.config.to_dict() | {"num_hidden_layers": 2}
    reference = transformers.Phi3ForCausalLM(transformers.Phi3Config(**raw)).eval()
    reference.save_pretrained(tmp_path / "checkpoint")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "checkpoint" / name).write_bytes((pair.folder / name).read_bytes())
    options = ExportOptions(recipe="fp32", layout="optimum")
    folder = export(tmp_path / "checkpoint", tmp_path / "optimum", options)
    ids = _tensor([token_ids(length)])
    loaded = type(pair.optimum).from_pretrained(folder)
    with torch.no_grad():
        expected = reference(ids).logits[0].numpy()
    got = loaded(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
    assert np.abs(got - expected).max() <= 1e-4 * expected.std()


def test_prompts_of_one_length_are_answered_together_as_alone(pair: Pair):
    prompts = [token_ids(9, seed=1), token_ids(9, seed=2)]
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    both = pair.optimum.generate(_tensor(prompts), attention_mask=_tensor([[1] * 9] * 2), **settings)
    for got, prompt in zip(both.tolist(), prompts, strict=True):
        alone = pair.optimum.generate(_tensor([prompt]), attention_mask=_tensor([[1] * 9]), **settings)
        assert got == alone[0].tolist()


@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_padding_is_refused_in_words(pair: Pair):
    """The library pads on the left, where the answer would be quietly wrong."""
    mask = _tensor([[1, 1, 1], [0, 1, 1]])
    with pytest.raises(Exception, match="padding is not supported: give prompts one by one"):
        pair.optimum(input_ids=_tensor([[5, 6, 7], [0, 6, 7]]), attention_mask=mask)


@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_a_reply_that_crosses_the_boundary_is_refused_in_words(pair: Pair):
    """The library would go on with keys that were rotated with the short factors."""
    ids = token_ids(BOUNDARY - 2)
    with pytest.raises(Exception, match="grew beyond 4096 tokens: give all of it at once, without a cache"):
        pair.optimum.generate(
            _tensor([ids]), attention_mask=_tensor([[1] * len(ids)]), max_new_tokens=8, min_new_tokens=8
        )


@pytest.mark.parametrize("pair", ["int4"], indirect=True)
def test_bench_measures_it_beside_edgephi(pair: Pair):
    spec = PeerSpec(name="optimum", program=sys.executable, model=pair.folder)
    check_peer(spec)
    runner = open_peer(spec, threads=1, max_positions=64)
    try:
        assert runner.version.startswith("0.1.")
        measured = {"prefill": runner.ask("prefill", tokens=8), "decode": runner.ask("decode", tokens=8, depth=4)}
        assert {do: len(seconds) for do, seconds in measured.items()} == {"prefill": 1, "decode": 7}
        assert all(0 < one < 60 for seconds in measured.values() for one in seconds)
        assert runner.peak_bytes > 1e8
    finally:
        runner.close()


def test_verify_finds_the_same_answers(pair: Pair):
    compared = compare_with_runtime(pair.folder, "optimum", str(NANO), lambda done, total: None)
    assert len(compared.requests) > 1
    for request in compared.requests:
        assert (request.mode, request.first_difference) == ("text", None)
        assert request.deviation <= 1e-4
