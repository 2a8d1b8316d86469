"""The worker of transformers: it must be as warm as ours when its time begins."""

from __future__ import annotations

from typing import Any

import pytest

from edgephi_bench.engines.workers.transformers_model import TransformersEngine

pytestmark = pytest.mark.reference


def test_an_untimed_pass_precedes_the_steps_and_the_kept_cache_stays_at_its_depth() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Phi3Config(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    engine = TransformersEngine(model, "0")
    engine.decode(9, 4)
    passes: list[tuple[int, int]] = []

    def note(module: Any, args: Any, given: dict[str, Any]) -> None:
        passes.append((given["input_ids"].shape[1], given["past_key_values"].get_seq_length()))

    model.register_forward_pre_hook(note, with_kwargs=True)
    assert len(engine.decode(9, 4)) == 3
    assert passes == [(1, 9), (1, 9), (1, 10), (1, 11)]
