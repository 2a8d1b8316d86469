"""What a model's makers advise counts until a caller says otherwise, in the library as on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.bundle.manifest import GenerationDefaults
from edgephi.generation.options import DrawRules
from support.bundles import copy_bundle, described, small_bundle
from support.shell import invoke

ADVICE: list[dict[str, Any]] = [
    {"temperature": 3.0, "top_k": 7, "top_p": 1.0},
    {"temperature": 5.0, "top_k": 0, "top_p": 0.9},
]
FEW = 12


def _advising(folder: Path, advice: dict[str, Any]) -> Path:
    bundle = copy_bundle(small_bundle(), folder)
    manifest = described(bundle)
    manifest["generation"] |= advice
    (bundle / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


@pytest.mark.parametrize("advice", ADVICE, ids=str)
def test_a_seed_alone_does_not_turn_advice_off(advice: dict[str, Any], tmp_path: Path):
    bundle = _advising(tmp_path / "m", advice)
    with Model.load(bundle, threads=1) as model:

        def said(**given: Any) -> list[int]:
            return list(model.generate("hello", options=SamplingOptions(max_new_tokens=FEW, **given)).token_ids)

        drawn = said(seed=7)
        assert drawn == said(seed=7, **advice)
        assert drawn != said(seed=7, temperature=0.0)
        assert said(temperature=0.0) == said(seed=3, temperature=0.0)  # what is given counts
        assert said(seed=7, top_k=1) == said(temperature=0.0)
    flags = ["--max-new-tokens", FEW, "--threads", 1, "--json"]
    line = json.loads(invoke("run", bundle, "hello", *flags, "--seed", 7).stdout)
    assert line["token_ids"] == drawn
    cold = json.loads(invoke("run", bundle, "hello", *flags, "--temperature", 0).stdout)
    greedy = json.loads(invoke("run", small_bundle(), "hello", *flags).stdout)
    assert cold["token_ids"] == greedy["token_ids"]


def test_each_option_is_the_callers_the_models_or_neutral():
    advised = GenerationDefaults(temperature=0.6, top_k=20)
    options = SamplingOptions(top_k=0, min_p=0.1, seed=1, stop=("x",))
    assert options.rules(advised) == DrawRules(temperature=0.6, top_k=0, min_p=0.1)
    assert options.rules() == DrawRules(top_k=0, min_p=0.1)
    filled = options.filled(advised)
    assert (filled.temperature, filled.top_k, filled.top_p, filled.seed, filled.stop) == (0.6, 0, 1.0, 1, ("x",))
    assert filled.filled(GenerationDefaults(temperature=2.0)) == filled


def test_greedy_asks_no_advice():
    advised = GenerationDefaults(temperature=0.6, top_k=20, top_p=0.5)
    assert SamplingOptions.greedy(max_new_tokens=3).filled(advised) == SamplingOptions.greedy(max_new_tokens=3)
    assert SamplingOptions.greedy().rules(advised) == DrawRules()


def test_a_seed_with_advised_drawing_promises_the_same_tokens_so_no_token_is_drafted(tmp_path: Path):
    with Model.load(_advising(tmp_path / "m", ADVICE[0]), threads=1) as model:
        reply = model.generate("a a a a a a a a", options=SamplingOptions(max_new_tokens=FEW, seed=1))
    assert reply.speculation.passes == 0
