"""Exchanged weights must be exactly those of the part, and all of them together the model itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgephi import ConfigError, Model
from edgephi.bundle.bundle import Bundle
from edgephi_export.calibration.examples import EXAMPLES_NAME, read_examples
from edgephi_export.fidelity.hybrid import HybridFolder, quantized_pairs
from edgephi_export.fidelity.measuring import Comparison, LoadedSubject, RunSettings, run_reference
from edgephi_export.fidelity.parts import PartsRun, grouped
from edgephi_export.fidelity.store import RunStore
from support.bundles import small_bundle

IDS = [5, 9, 30, 7]


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "weights").iterdir()}


@pytest.mark.parametrize("recipe", ["int4", "int4-fast"])
def test_the_reference_with_all_parts_exchanged_is_the_model_and_without_them_itself(tmp_path: Path, recipe: str):
    """`int4-fast` has int8 rows in its encoders, whose codes are stored transposed.

    The model itself also rounds what its codes are multiplied by, so its logits are near those and not the same.
    """
    reference, model = Bundle(small_bundle()), Bundle(small_bundle(recipe=recipe))
    pairs = quantized_pairs(reference, model)
    hybrid = HybridFolder(tmp_path / "hybrid", reference, model)
    hybrid.put(pairs)
    audio = (np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    with Model.load(hybrid.path) as found, Model.load(model.path) as wanted, Model.load(reference.path) as exact:
        made = found.prepare("Say", audio=[audio]).prompt.token_ids
        logits = [one.logits(made, audio=[audio]) for one in (found, wanted, exact)]
    distances = [float(np.abs(logits[0] - other).max()) for other in logits[1:]]
    assert distances[0] < distances[1] / 2
    exchanged = Bundle(hybrid.path)
    for pair in pairs:
        values, original = (one.tensor(pair.reference.values) for one in (exchanged, reference))
        assert 0 < np.square(values - original).sum() < 0.1 * np.square(original).sum(), pair.reference.name
    hybrid.restore(pairs)
    assert _weights(hybrid.path) == _weights(reference.path)


def test_parts_are_the_layers_and_the_kinds_of_tensors():
    reference, model = Bundle(small_bundle()), Bundle(small_bundle(recipe="int4"))
    parts = grouped(quantized_pairs(reference, model))
    names = [name for kind, name in parts if kind == "tensors"]
    assert [name for kind, name in parts if kind == "layer"] == ["layer 0", "layer 1"]
    assert {"self_attn.qkv_proj", "mlp.down_proj", "lm_head", "adapter_speech", "vision", "speech"} <= set(names)
    every = [id(pair) for (kind, _), pairs in parts.items() if kind == "tensors" for pair in pairs]
    assert len(every) == len(set(every)) == len(quantized_pairs(reference, model))


def test_each_part_costs_something_alone_and_less_than_all(tmp_path: Path):
    lines = ({"messages": "Hello", "answer": "one two"}, {"messages": "Again", "answer": "three"})
    (tmp_path / EXAMPLES_NAME).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    examples, settings = read_examples(tmp_path), RunSettings(threads=1, kv_cache="float", max_new_tokens=2)
    reference, model, work = small_bundle("phi3"), small_bundle("phi3", recipe="int4"), tmp_path / "work"
    with LoadedSubject(reference, settings) as subject:
        outcomes = run_reference(subject, examples, RunStore(work, "reference"), lambda _: None)
    run = PartsRun(
        reference=reference,
        model=model,
        settings=settings,
        comparison=Comparison(outcomes=outcomes, store=RunStore(work, "reference")),
        examples=examples,
        work_dir=work,
        reporter=lambda label, examples: lambda number: None,
    )
    parts = run.measure()
    assert not list(work.glob("parts-*"))
    assert [part.name for part in parts if part.kind == "layer"] == ["layer 0", "layer 1"]
    assert all(part.kl[0].kl > 0 and part.bytes > 0 for part in parts)
    assert max(part.kl[0].kl for part in parts) > 3 * min(part.kl[0].kl for part in parts)
    assert run.measure() == parts  # from the finished work


def test_a_reference_of_other_parts_is_refused():
    with pytest.raises(ConfigError, match="the same --adapters and --modalities"):
        quantized_pairs(Bundle(small_bundle()), Bundle(small_bundle(adapters="none", modalities=("text",))))
    with pytest.raises(ConfigError, match="use --recipe fp32"):
        quantized_pairs(Bundle(small_bundle(recipe="int8")), Bundle(small_bundle(recipe="int4")))
