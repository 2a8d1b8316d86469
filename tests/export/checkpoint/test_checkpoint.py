"""Every layout must mean the same model, and a checkpoint that is not what it should be must never become a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.checkpoint import Checkpoint, available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.safetensors_file import read_header
from edgephi_export.checkpoint.selection import choose
from support.bundles import small_checkpoint
from support.checkpoints import Layout, write_checkpoint
from support.tensor_files import change_json, change_tensors


def _open(folder: Path, adapters: str | None = None, modalities: tuple[str, ...] | None = None) -> Checkpoint:
    return open_checkpoint(folder, choose(adapters, modalities, available_modalities(read_layout(folder))))


def test_native_and_original_are_the_same_model():
    native, original = _open(small_checkpoint("native").path), _open(small_checkpoint("original").path)
    assert native.weights.shapes == original.weights.shapes
    for name in native.weights.shapes:
        np.testing.assert_array_equal(native.weights.read(name), original.weights.read(name), err_msg=name)
    assert native.config.vision == original.config.vision
    assert native.config.speech == original.config.speech
    assert native.config.adapters == original.config.adapters
    assert replace(native.config.tokens, ends=()) == replace(original.config.tokens, ends=())
    assert native.config.rope == original.config.rope
    assert native.chat_template == original.chat_template


def test_the_text_model_is_the_others_decoder():
    text, native = _open(small_checkpoint("phi3").path), _open(small_checkpoint("native").path)
    assert text.config.decoder == native.config.decoder
    assert text.config.vision is text.config.speech is None
    for name in text.weights.shapes:
        np.testing.assert_array_equal(text.weights.read(name), native.weights.read(name), err_msg=name)


def test_the_description_of_a_small_model():
    spec = small_checkpoint("original")
    config, sizes = _open(spec.path).config, spec.sizes
    assert (config.decoder.hidden_size, config.decoder.num_kv_heads) == (sizes.hidden, sizes.kv_heads)
    assert config.vision is not None
    assert (config.vision.num_layers, config.vision.num_used_layers) == (sizes.image_layers, sizes.image_layers - 1)
    assert (config.vision.patch_size, config.vision.max_crops) == (sizes.patch, sizes.max_crops)
    assert config.speech is not None
    assert (config.speech.window_rows, config.speech.max_distance) == (500, sizes.audio_bias_distance)
    assert {info.name: (info.rank, info.scale) for info in config.adapters} == {
        "vision": (sizes.vision_rank, sizes.vision_alpha / sizes.vision_rank),
        "speech": (sizes.speech_rank, sizes.speech_alpha / sizes.speech_rank),
    }
    assert config.rope.attention_scale == pytest.approx(1.190238, abs=1e-6)  # the public model's value
    assert config.rope.rotary_dim == 48
    assert (config.tokens.image, config.tokens.audio) == (spec.image_token_id, spec.audio_token_id)
    assert set(config.tokens.eos) == set(spec.eos_token_ids)


def test_bfloat16_weights_keep_their_rounded_values(tmp_path: Path):
    spec = write_checkpoint(tmp_path / "bf16", "native", dtype="bfloat16")
    rounded = _open(spec.path).weights.read("norm.weight")
    exact = _open(small_checkpoint("native").path).weights.read("norm.weight")
    assert 0 < np.abs(rounded - exact).max() < 0.01


def test_adapter_keys_without_pefts_prefix_are_read(tmp_path: Path):
    folder = _copy("native", tmp_path)

    def shorten(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("base_model.model.")] = tensors.pop(name)

    change_tensors(folder / "speech-lora" / "adapter_model.safetensors", shorten)
    assert _open(folder).weights.shapes == _open(small_checkpoint("native").path).weights.shapes


def test_the_tied_head_may_be_stored_twice_but_not_differ(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    change_tensors(folder / "model.safetensors", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"]}))
    _open(folder)
    change_tensors(
        folder / "model.safetensors", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] * 2})
    )
    with pytest.raises(ArtifactError, match=r"lm_head\.weight differs from the embedding"):
        _open(folder)


def test_a_head_that_differs_in_its_last_row_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi_export.checkpoint.checkpoint._COMPARED_ROWS", 64)
    folder = _copy("phi3", tmp_path)

    def change(tensors: dict[str, Any]) -> None:
        head = tensors["model.embed_tokens.weight"].copy()
        head[-1, -1] += 1
        tensors["lm_head.weight"] = head

    change_tensors(folder / "model.safetensors", change)
    with pytest.raises(ArtifactError, match=r"lm_head\.weight differs from the embedding"):
        _open(folder)


def test_each_header_is_read_once(monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []

    def count(path: Path) -> dict[str, Any]:
        read.append(path)
        return read_header(path)

    monkeypatch.setattr("edgephi_export.checkpoint.checkpoint.read_header", count)
    _open(small_checkpoint("original").path)
    assert len(read) == len(set(read)) == 2


def test_the_unused_end_of_the_image_tower_may_be_missing(tmp_path: Path):
    folder = _copy("native", tmp_path)

    def drop(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if ".head." in name or "post_layernorm" in name]:
            del tensors[name]

    change_tensors(folder / "model.safetensors", drop)
    _open(folder)


def test_parts_that_are_left_out_need_not_be_whole(tmp_path: Path):
    """A download without the speech adapter still gives a seeing model when asked for one."""
    folder = _copy("native", tmp_path)
    shutil.rmtree(folder / "speech-lora")
    assert _open(folder, modalities=("text", "vision")).config.speech is None
    (folder / "preprocessor_config.json").unlink()
    assert _open(folder, "none").config.vision is None


TEMPLATE = "{{ messages[0].content }}"


@pytest.mark.parametrize("source", ["chat_template.json", "tokenizer_config.json", "list"])
def test_chat_templates_are_found_where_checkpoints_keep_them(tmp_path: Path, source: str):
    folder = _copy("native", tmp_path)
    (folder / "chat_template.jinja").unlink()
    template: object = [{"name": "tools", "template": "no"}, {"name": "default", "template": TEMPLATE}]
    if source == "chat_template.json":
        (folder / source).write_text(json.dumps({"chat_template": TEMPLATE}))
    else:
        content = template if source == "list" else TEMPLATE
        change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=content))
    assert _open(folder).chat_template == TEMPLATE


def test_sampling_defaults_come_from_the_checkpoint(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    assert _open(folder).config.generation.temperature == 0.0
    change_json(folder / "generation_config.json", lambda c: c.update(do_sample=True, temperature=0.7, top_p=0.9))
    generation = _open(folder).config.generation
    assert (generation.temperature, generation.top_p, generation.top_k) == (0.7, 0.9, 50)


def test_original_towers_of_other_widths_can_state_their_heads(tmp_path: Path):
    folder = _copy("original", tmp_path)
    change_json(folder / "config.json", lambda c: c.update(vision_config={"num_attention_heads": 8}))
    vision = _open(folder).config.vision
    assert vision is not None
    assert vision.num_heads == 8


def test_plain_rotary_positions_are_long_rope_with_ones(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    change_json(folder / "config.json", lambda c: c.update(rope_scaling=None))
    rope = _open(folder).config.rope
    assert set(rope.short_factor) == set(rope.long_factor) == {1.0}
    assert rope.attention_scale == 1.0


def test_every_float_setting_reaches_the_description(tmp_path: Path):
    folder = _copy("native", tmp_path)

    def change(content: dict[str, Any]) -> None:
        content.update(rope_theta=5000, rms_norm_eps=2e-4)
        content["rope_scaling"]["attention_factor"] = 1.5
        content["vision_config"]["layer_norm_eps"] = 3e-4

    change_json(folder / "config.json", change)
    config = _open(folder).config
    assert (config.rope.theta, config.rope.attention_scale, config.decoder.rms_norm_eps) == (5000.0, 1.5, 2e-4)
    assert config.vision is not None
    assert config.vision.layer_norm_eps == 3e-4


def test_the_original_towers_epsilon_can_be_stated(tmp_path: Path):
    folder = _copy("original", tmp_path)
    change_json(folder / "config.json", lambda c: c.update(vision_config={"layer_norm_eps": 4e-4}))
    vision = _open(folder).config.vision
    assert vision is not None
    assert vision.layer_norm_eps == 4e-4


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))


def test_a_sliding_window_as_long_as_the_context_changes_nothing(tmp_path: Path):
    folder = Path(shutil.copytree(small_checkpoint("phi3").path, tmp_path / "checkpoint"))
    change_json(folder / "config.json", lambda c: c.update(sliding_window=c["max_position_embeddings"]))
    assert _open(folder).config.decoder == _open(small_checkpoint("phi3").path).config.decoder
