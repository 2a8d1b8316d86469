"""The same model in other words must be the same model: no writer's spelling may change or lose anything."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.selection import choose
from support.bundles import small_bundle, small_checkpoint
from support.checkpoints import Layout
from support.dialects import respell
from support.tensor_files import change_json, change_tensors

SEEDS: dict[Layout, int] = {"phi3": 24, "native": 10, "original": 8}


@pytest.mark.parametrize(("layout", "seed"), [(layout, seed) for layout, n in SEEDS.items() for seed in range(n)])
def test_every_spelling_of_a_checkpoint_gives_the_same_folder(tmp_path: Path, layout: Layout, seed: int):
    folder = Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))
    done = respell(folder, np.random.default_rng([seed, len(layout)]))
    options = ExportOptions(recipe="fp32", threads=1)
    found, wanted = Bundle(export(folder, tmp_path / "out", options)).manifest, Bundle(small_bundle(layout)).manifest
    assert found.files == wanted.files, done
    tokens = replace(found.tokens, eos=wanted.tokens.eos, ends=wanted.tokens.ends)
    assert replace(found, source=wanted.source, tokens=tokens) == wanted, done
    assert set(found.tokens.eos) == set(wanted.tokens.eos), done


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))


def test_a_tensor_under_two_spellings_is_refused(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    change_tensors(folder / "model.safetensors", lambda t: t.update({"norm.weight": t["model.norm.weight"] * 2}))
    with pytest.raises(ArtifactError, match=r"tensor \S*norm\.weight is also in model\.safetensors, as "):
        export(folder, tmp_path / "out")


def test_a_head_alone_is_no_embedding_where_they_are_not_tied(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    change_tensors(
        folder / "model.safetensors", lambda t: t.update({"lm_head.weight": t.pop("model.embed_tokens.weight")})
    )
    change_json(folder / "config.json", lambda c: c.update(tie_word_embeddings=False))
    with pytest.raises(ArtifactError, match=r"tensor embed_tokens\.weight is missing from the weights"):
        export(folder, tmp_path / "out")


#: Settings of released models of the same type that edgephi does not run.
RELATIVES: dict[str, tuple[dict[str, Any], str]] = {
    "Phi-3-mini-4k": (
        {"max_position_embeddings": 4096, "sliding_window": 2047, "rope_scaling": None, "partial_rotary_factor": None,
         "tie_word_embeddings": False},
        r"sliding_window 2047 is shorter than the context 4096",
    ),
    "Phi-3.5-mini": (
        {"tie_word_embeddings": False, "attention_bias": False},
        r"tie_word_embeddings is False; only True is supported: .* while Phi-3, Phi-3\.5 and Phi-4 \(14B\) have one",
    ),
    "Phi-4 (14B)": (
        {"tie_word_embeddings": False, "rope_scaling": None, "sliding_window": None, "partial_rotary_factor": 1.0,
         "max_position_embeddings": 16384, "original_max_position_embeddings": 16384},
        r"tie_word_embeddings is False; only True is supported",
    ),
    "Phi-4-mini-flash": ({"model_type": "phi4flash"}, r"unknown model_type 'phi4flash'; supported: phi3, phi4mm"),
    "Phi-3-small": ({"model_type": "phi3small"}, r"unknown model_type 'phi3small'"),
    "Phi-3-vision": ({"model_type": "phi3_v"}, r"unknown model_type 'phi3_v'"),
    "a classifier": (
        {"architectures": ["Phi3ForSequenceClassification"]},
        r"architectures is 'Phi3ForSequenceClassification', which does not write text",
    ),
    "a Llama copy of it": ({"model_type": "llama"}, r"unknown model_type 'llama'"),
}  # fmt: skip


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_that_are_not_supported_are_refused_by_name(tmp_path: Path, name: str):
    values, message = RELATIVES[name]
    folder = _copy("phi3", tmp_path)
    change_json(folder / "config.json", lambda config: config.update(values))
    with pytest.raises(ArtifactError, match=message) as caught:
        export(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_head_of_its_own_is_refused_even_where_nothing_says_so(tmp_path: Path):
    """Without tie_word_embeddings, whose default is False: as Phi-3.5-mini's files are written."""
    folder = _copy("phi3", tmp_path)
    change_json(folder / "config.json", lambda config: config.pop("tie_word_embeddings"))
    change_tensors(
        folder / "model.safetensors", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1})
    )
    with pytest.raises(ArtifactError, match=r"tie_word_embeddings is False; only True is supported"):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize("place", ["rope_scaling", "rope_parameters"])
def test_plain_rope_is_read_in_both_releases_words(tmp_path: Path, place: str):
    folder = _copy("phi3", tmp_path)

    def change(config: dict[str, Any]) -> None:
        theta = config.pop("rope_theta")
        config.pop("rope_scaling")
        if place == "rope_scaling":
            config.update(rope_scaling=None, rope_theta=theta)
        else:
            config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": 0.75}

    change_json(folder / "config.json", change)
    rope = open_checkpoint(folder, choose(None, None, available_modalities(read_layout(folder)))).config.rope
    assert (set(rope.short_factor), rope.attention_scale, rope.theta, rope.rotary_dim) == ({1.0}, 1.0, 10000.0, 48)
