"""Every layout must mean the same model, and a checkpoint that is not what it should be must never become a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.errors import ArtifactError, ConfigError, EdgeError
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint import Checkpoint, available_modalities, open_checkpoint, read_layout
from edgephi_export.selection import choose
from support.bundles import small_checkpoint
from support.checkpoints import Layout, write_checkpoint
from support.tensor_files import change_json, change_tensors

Change = Callable[[Path], object]
LAYER = "model.layers.1.mlp.down_proj.weight"


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
    assert native.config.tokens == original.config.tokens
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


@pytest.mark.parametrize("source", ["chat_template.json", "tokenizer_config.json", "list"])
def test_chat_templates_are_found_where_checkpoints_keep_them(tmp_path: Path, source: str):
    folder = _copy("native", tmp_path)
    (folder / "chat_template.jinja").unlink()
    template: object = [{"name": "tools", "template": "no"}, {"name": "default", "template": "T"}]
    if source == "chat_template.json":
        (folder / source).write_text('{"chat_template": "T"}')
    else:
        content = template if source == "list" else "T"
        change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=content))
    assert _open(folder).chat_template == "T"


def test_sampling_defaults_come_from_the_checkpoint(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    assert _open(folder).config.generation.temperature == 0.0
    change_json(folder / "generation_config.json", lambda c: c.update(do_sample=True, temperature=0.7, top_p=0.9))
    generation = _open(folder).config.generation
    assert (generation.temperature, generation.top_p, generation.top_k) == (0.7, 0.9, 0)


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


# --- refusals: (layout, what is done to it, words of the message) ---


def _config(**values: Any) -> Change:
    return lambda folder: change_json(folder / "config.json", lambda c: c.update(values))


def _inside(path: str, **values: Any) -> Change:
    """Change an object nested in config.json, its keys joined by dots."""

    def change(content: dict[str, Any]) -> None:
        for key in path.split("."):
            content = content[key]
        content.update(values)

    return lambda folder: change_json(folder / "config.json", change)


def _file(name: str, text: str | None) -> Change:
    return lambda folder: (folder / name).unlink() if text is None else (folder / name).write_text(text)


def _json(name: str, **values: Any) -> Change:
    return lambda folder: change_json(folder / name, lambda c: c.update(values))


def _tensors(change: Callable[[dict[str, Any]], object], name: str = "model.safetensors") -> Change:
    return lambda folder: change_tensors(folder / name, change)


REFUSALS: list[tuple[Layout, Change, str]] = [
    ("native", _file("config.json", None), r"config\.json: missing from the checkpoint"),
    ("native", _file("config.json", "{"), r"config\.json: not valid JSON"),
    ("native", _file("config.json", "[]"), r"config\.json: expected a JSON object"),
    ("native", _config(model_type="llama"), r"config\.json: unknown model_type 'llama'; supported: phi4mm, "),
    ("native", _config(model_type=None), r"unknown model_type None"),
    ("phi3", _inside("rope_scaling", type="yarn"), r"unknown rope type 'yarn'; supported: longrope"),
    ("phi3", _inside("rope_scaling", rope_type="linear"), r"unknown rope type 'linear'"),
    ("phi3", _inside("rope_scaling", beta=1), r"unknown setting 'beta'; it may change positions"),
    ("phi3", _inside("rope_scaling", long_factor=[1.0] * 23), r"long_factor has 23 values"),
    ("phi3", _inside("rope_scaling", short_factor="ones"), r"short_factor must be a list of numbers"),
    ("phi3", _config(rope_scaling=3), r"rope_scaling is 3; expected an object"),
    ("phi3", _config(partial_rotary_factor=0.7), r"44 rotated dimensions per head .* needs a multiple of 16"),
    ("phi3", _config(tie_word_embeddings=False), r"tie_word_embeddings is False; only True is supported"),
    ("phi3", _config(hidden_act="gelu"), r"hidden_act is 'gelu'; only 'silu' is supported"),
    ("phi3", _config(attention_bias=True), r"attention_bias is True"),
    ("phi3", _config(sliding_window=2048), r"sliding_window 2048 is shorter than the context 131072"),
    ("phi3", _config(hidden_size="big"), r"hidden_size is 'big'; expected int"),
    ("phi3", _config(num_hidden_layers=0), r"num_hidden_layers is 0; expected at least 1"),
    ("phi3", _config(num_key_value_heads=2), r"is not a multiple of"),
    ("phi3", _config(num_hidden_layers=3), r"tensor layers\.2\.input_layernorm\.weight is missing"),
    ("phi3", _config(num_hidden_layers=1), r"model\.safetensors: unexpected tensor model\.layers\.1\."),
    ("phi3", _config(vocab_size=399), r"embed_tokens\.weight has shape \[400, 192\]; the config asks for \[399, 192\]"),
    ("phi3", _config(vocab_size=300), r"vocab_size is 300, but tokenizer\.json has the id 373"),
    ("phi3", _config(bos_token_id=400), r"token id 400 is outside the vocabulary of 400"),
    ("phi3", _config(bos_token_id="first"), r"bos_token_id is 'first'; expected token ids"),
    ("phi3", _tensors(lambda t: t.pop(LAYER)), r"tensor layers\.1\.mlp\.down_proj\.weight is missing"),
    ("phi3", _tensors(lambda t: t.update({"model.rotary.x": t["model.norm.weight"]})), r"unexpected tensor model\.rotary"),
    ("phi3", _tensors(lambda t: t.update({LAYER: t[LAYER].T.copy()})), rf"{LAYER} has shape \[256, 192\]"),
    ("phi3", _file("model.safetensors", None), r"neither model\.safetensors nor model\.safetensors\.index\.json"),
    ("phi3", _file("model.safetensors", "hello"), r"model\.safetensors: truncated, or not a safetensors file"),
    ("phi3", _file("tokenizer.json", None), r"tokenizer\.json: missing"),
    ("phi3", _file("tokenizer.json", "{}"), r"tokenizer\.json: not a tokenizer"),
    ("phi3", _file("generation_config.json", None), r"generation_config\.json: missing"),
    ("phi3", _file("generation_config.json", "{}"), r"generation_config\.json: eos_token_id is missing"),
    ("phi3", _json("tokenizer_config.json", chat_template=None), r"no chat template"),
    ("phi3", _json("tokenizer_config.json", chat_template=[1]), r"chat_template is neither text nor a list"),
    ("native", _file("preprocessor_config.json", None), r"preprocessor_config\.json: missing; .* --modalities text,speech"),
    ("native", _json("preprocessor_config.json", dynamic_hd=0), r"dynamic_hd is 0; expected at least 1"),
    ("native", _inside("vision_config", image_token_id=5), r"image_token_id is 5, but tokenizer\.json gives"),
    ("native", _inside("vision_config", num_attention_heads=5), r"64 wide, not a multiple of its 5 heads"),
    ("native", _inside("vision_config", hidden_act="relu"), r"vision_config: hidden_act is 'relu'"),
    ("native", _inside("vision_config", feature_layer=-4), r"feature_layer is -4; expected -3 to -1"),
    ("native", _inside("vision_config", crop_size=42, image_size=42), r"does not divide into an even number of patches"),
    ("native", _inside("vision_config", crop_size=84), r"image_size is 56; only 84 is supported"),
    ("native", _inside("audio_config", time_reduction=4), r"audio_config: time_reduction is 4; only 8 is supported"),
    ("native", _inside("audio_config", chunk_size=18), r"audio_config: chunk_size is 18"),
    ("native", _inside("audio_config", num_attention_heads=3), r"the width 32 is not a multiple of the 3 heads"),
    ("native", _inside("audio_config", bias_symmetric=True), r"bias_symmetric is True"),
    ("native", lambda f: shutil.rmtree(f / "vision-lora"), r"vision-lora: missing .* --modalities text,speech"),
    ("native", _file("speech-lora/adapter_model.safetensors", None), r"speech-lora/adapter_model\.safetensors: missing"),
    ("native", _json("speech-lora/adapter_config.json", use_rslora=True), r"use_rslora is True"),
    ("native", _json("speech-lora/adapter_config.json", rank_pattern={"x": 1}), r"rank_pattern is set"),
    ("native", _json("speech-lora/adapter_config.json", r=13), r"lora_A\.weight has shape \[12, 192\]"),
    ("native", _tensors(lambda t: t.update(x=t.popitem()[1]), "speech-lora/adapter_model.safetensors"), r"unexpected tensor x"),
    ("original", _inside("audio_processor.config", causal=False), r"causal is False"),
    ("original", _inside("embd_layer.image_embd_layer", hd_transform_order="glb_sub"), r"hd_transform_order is 'glb_sub'"),
    ("original", _config(embd_layer=None), r"embd_layer is None; expected an object"),
    ("original", _config(speech_lora=None), r"speech_lora is None; expected an object"),
    ("original", _inside("vision_lora", r=9), r"lora_A\.vision\.weight has shape \[8, 192\]"),
    ("original", _file("model-00002-of-00002.safetensors", None), r"model-00002-of-00002\.safetensors: missing"),
    ("original", _file("model.safetensors.index.json", "{}"), r"weight_map is None"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "change", "message"), REFUSALS, ids=[message[:40] for _, _, message in REFUSALS])
def test_a_wrong_checkpoint_is_refused_and_nothing_is_written(
    tmp_path: Path, layout: Layout, change: Change, message: str
):
    folder = _copy(layout, tmp_path)
    change(folder)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match=message) as caught:
        export(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"model.norm.weight": "../other.safetensors"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "weights.bin"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "model-00009-of-00002.safetensors"}, r"model-00009-of-00002\.safetensors: missing"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, index: dict[str, str], message: str):
    folder = _copy("original", tmp_path)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ArtifactError, match=message):
        _open(folder)


def test_an_index_that_names_a_tensor_which_is_not_there(tmp_path: Path):
    folder = _copy("original", tmp_path)
    change_json(
        folder / "model.safetensors.index.json",
        lambda c: c["weight_map"].update({"model.layers.9.x": "model-00001-of-00002.safetensors"}),
    )
    with pytest.raises(
        ArtifactError, match=r"model-00001-of-00002\.safetensors: tensor model\.layers\.9\.x is missing"
    ):
        _open(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path):
    folder = _copy("original", tmp_path)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    names = [name for name, place in json.loads(index.read_text())["weight_map"].items() if "00001" in place]
    places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ArtifactError, match=r"model-00002-of-00002\.safetensors: tensor .* is also in model-00001"):
        _open(folder)


@pytest.mark.parametrize("missing", ["folder", "empty"])
def test_no_checkpoint_there(tmp_path: Path, missing: str):
    folder = tmp_path / "nothing"
    if missing == "empty":
        folder.mkdir()
    with pytest.raises(ArtifactError, match="nothing"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_text_checkpoint_cannot_be_given_senses(tmp_path: Path):
    with pytest.raises(ConfigError, match="this checkpoint has no vision; it has text"):
        export(small_checkpoint("phi3").path, tmp_path / "out", ExportOptions(modalities=("text", "vision")))
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="unknown recipe 'int3'; known: fp32") as caught:
        export(tmp_path / "no such", tmp_path / "out", ExportOptions(recipe="int3"))
    assert isinstance(caught.value, EdgeError)


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))
