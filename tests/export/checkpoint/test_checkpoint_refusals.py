"""A checkpoint that is not what it should be must be refused in one line, with nothing written."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_export import ExportOptions, export
from support.bundles import small_checkpoint
from support.checkpoints import Layout
from support.tensor_files import change_json, change_tensors

Change = Callable[[Path], object]
LORA = "speech-lora/adapter_model.safetensors"
LAYER = "model.layers.1.mlp.down_proj.weight"


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


def _without_ends(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change_json(folder / "config.json", lambda c: c.pop("eos_token_id"))
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    change_json(folder / "tokenizer_config.json", lambda c: c.update(eos_token=None, chat_template=template))


# layout, what is done to it, words of the message
REFUSALS: list[tuple[Layout, Change, str]] = [
    ("native", _file("config.json", None), r"config\.json: missing from the checkpoint"),
    ("native", _file("config.json", "{"), r"config\.json: not valid JSON"),
    ("native", _file("config.json", "[]"), r"config\.json: expected a JSON object"),
    ("native", _config(model_type="llama"), r"config\.json: unknown model_type 'llama'; supported: phi3, "),
    ("native", _config(model_type=None), r"unknown model_type None"),
    ("phi3", _inside("rope_scaling", type="yarn"), r"unknown rope type 'yarn'; supported: longrope"),
    ("phi3", _inside("rope_scaling", rope_type="linear"), r"unknown rope type 'linear'"),
    ("phi3", _inside("rope_scaling", beta=1), r"unknown setting 'beta'; it may change positions"),
    ("phi3", _inside("rope_scaling", long_factor=[1.0] * 23), r"long_factor has 23 values"),
    ("phi3", _inside("rope_scaling", short_factor="ones"), r"short_factor must be a list of numbers"),
    ("phi3", _config(rope_parameters={"rope_theta": 5000.0}), r"rope_theta is 5000\.0 in one place and 10000\.0 in"),
    ("phi3", _config(rope_parameters={"full_attention": {}}), r"rope_parameters: unknown setting 'full_attention'"),
    ("phi3", _config(rope_parameters={"rope_type": "yarn"}), r"rope_parameters: unknown rope type 'yarn'"),
    ("phi3", _config(rope_parameters={"rope_type": "default"}), r"rope_type is 'longrope' in one place and 'def"),
    ("phi3", _inside("rope_scaling", type=None), r"unknown rope type None with factors; expected longrope"),
    ("phi3", _inside("rope_scaling", factor=8.0), r"factor is 8, but max_position_embeddings over .* is 32; .* make"),
    ("phi3", _config(layer_types=["sliding_attention"] * 2), r"layer_types is .*; only 'full_attention' is supported"),
    ("phi3", _config(rope_scaling=3), r"rope_scaling is 3; expected an object"),
    ("phi3", _config(partial_rotary_factor=0.7), r"44 rotated dimensions per head .* needs a multiple of 16"),
    ("phi3", _config(tie_word_embeddings=False), r"tie_word_embeddings is False; only True .* Phi-3, Phi-3\.5 and"),
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
    ("phi3", _tensors(lambda t: t.update(x=t["model.norm.weight"])), r"model\.safetensors: unexpected tensor x"),
    ("phi3", _tensors(lambda t: t.update({LAYER: t[LAYER].T.copy()})), rf"{LAYER} has shape \[256, 192\]"),
    ("phi3", _file("model.safetensors", None), r"neither model\.safetensors nor model\.safetensors\.index\.json"),
    ("phi3", _file("model.safetensors", "hello"), r"model\.safetensors: truncated, or not a safetensors file"),
    ("phi3", _file("tokenizer.json", None), r"tokenizer\.json: missing"),
    ("phi3", _file("tokenizer.json", "{}"), r"tokenizer\.json: not a tokenizer"),
    ("phi3", _without_ends, r"nothing names the token that ends a reply: no eos_token_id in gen"),
    ("phi3", _json("generation_config.json", eos_token_id=400), r"token id 400 is outside the vocabulary of 400"),
    ("phi3", _json("generation_config.json", eos_token_id="<|end|>"), r"eos_token_id is '<\|end\|>'; expected"),
    ("phi3", _json("tokenizer_config.json", chat_template=None), r"no chat template"),
    ("phi3", _json("tokenizer_config.json", chat_template=[1]), r"chat_template is neither text nor a list"),
    ("original", _file("preprocessor_config.json", None), r"preprocessor_config\.json: missing, or .* text,speech"),
    ("native", _file("processor_config.json", '{"image_processor": {"dynamic_hd": 9}}'), r"_hd is 36 .* and 9"),
    ("native", _json("preprocessor_config.json", dynamic_hd=0), r"dynamic_hd is 0; expected at least 1"),
    ("native", _inside("vision_config", image_token_id=5), r"image_token_id is 5, but tokenizer\.json gives"),
    ("native", _inside("vision_config", num_attention_heads=5), r"64 wide, not a multiple of its 5 heads"),
    ("native", _inside("vision_config", hidden_act="relu"), r"vision_config: hidden_act is 'relu'"),
    ("native", _inside("vision_config", feature_layer=-4), r"feature_layer is -4; expected -3 to -1"),
    ("native", _inside("vision_config", crop_size=42, image_size=42), r"not divide into an even number of patches"),
    ("native", _inside("vision_config", crop_size=84), r"image_size is 56; only 84 is supported"),
    ("native", _inside("audio_config", time_reduction=4), r"audio_config: time_reduction is 4; only 8 is supported"),
    ("native", _inside("audio_config", chunk_size=18), r"audio_config: chunk_size is 18"),
    ("native", _inside("audio_config", num_attention_heads=3), r"the width 32 is not a multiple of the 3 heads"),
    ("native", _inside("audio_config", bias_symmetric=True), r"bias_symmetric is True"),
    ("native", lambda f: shutil.rmtree(f / "vision-lora"), r"vision-lora: missing .* --modalities text,speech"),
    ("native", _file("speech-lora/adapter_model.safetensors", None), r"adapter_model\.safetensors: missing"),
    ("native", _json("speech-lora/adapter_config.json", use_rslora=True), r"use_rslora is True"),
    ("native", _json("speech-lora/adapter_config.json", rank_pattern={"x": 1}), r"rank_pattern is set"),
    ("native", _json("speech-lora/adapter_config.json", r=13), r"lora_A\.weight has shape \[12, 192\]"),
    ("native", _tensors(lambda t: t.update(x=t.popitem()[1]), LORA), r"model\.safetensors: unexpected tensor x"),
    ("original", _inside("audio_processor.config", causal=False), r"causal is False"),
    ("original", _inside("embd_layer.image_embd_layer", hd_transform_order="x"), r"hd_transform_order is 'x'"),
    ("original", _config(embd_layer=None), r"embd_layer is None; expected an object"),
    ("original", _config(speech_lora=None), r"speech_lora is None; expected an object"),
    ("original", _inside("vision_lora", r=9), r"lora_A\.vision\.weight has shape \[8, 192\]"),
    ("original", _file("model-00002-of-00002.safetensors", None), r"model-00002-of-00002\.safetensors: missing"),
    ("original", _file("model.safetensors.index.json", "{}"), r"weight_map is None"),
    ("phi3", _config(original_max_position_embeddings=1), r"embeddings is 1; expected at least 2"),
    ("phi3", _config(num_hidden_layers=10**9), r"num_hidden_layers is 1000000000; expected at most 10000"),
    ("phi3", _config(hidden_size=2**40), r"hidden_size is \d+; expected at most"),
    ("phi3", _config(rope_theta=10**400), r"config\.json: rope_theta is not a finite number"),
    ("phi3", _config(rope_theta=-1), r"config\.json: rope_theta is -1\.0; expected a number over 0"),
    ("phi3", _config(rms_norm_eps=0), r"rms_norm_eps is 0\.0; expected a number over 0"),
    ("phi3", _config(rms_norm_eps=math.nan), r"rms_norm_eps is not a finite number"),
    ("phi3", _inside("rope_scaling", attention_factor=-1.0), r"attention_factor is -1\.0; expected a number over 0"),
    ("phi3", _inside("rope_scaling", long_factor=[math.inf] * 24), r"long_factor is not a finite number"),
    ("phi3", _inside("rope_scaling", long_factor=[0.0] * 24), r"config\.json: .*long_factor\[0\] is 0"),
    ("native", _inside("vision_config", layer_norm_eps=-1), r"vision_config: layer_norm_eps is -1\.0"),
    ("native", _inside("audio_config", num_blocks=10**9), r"num_blocks is 1000000000; expected at most 10000"),
    ("native", _json("speech-lora/adapter_config.json", lora_alpha=0), r"lora_alpha is 0\.0; expected"),
    ("native", _json("speech-lora/adapter_config.json", lora_alpha=math.inf), r"lora_alpha is not a finite"),
    ("native", _json("generation_config.json", do_sample=True, temperature=-1), r"config\.json: temperature is -1"),
    ("native", _json("generation_config.json", do_sample=True, top_k=-1), r"config\.json: top_k is -1"),
    ("native", _json("generation_config.json", do_sample=True, top_p=0), r"config\.json: top_p is 0"),
    ("phi3", _tensors(lambda t: t.update({LAYER: t[LAYER].astype("int32")})), rf"{LAYER} is I32; supported: F32"),
    ("native", _tensors(lambda t: t.update({n.removeprefix("base_model.model."): v for n, v in list(t.items())}), LORA),
     r"tensor model\.layers.* is also in adapter_model\.safetensors, as base_model\."),
    ("phi3", _tensors(lambda t: t.update({"a\nb": t["model.norm.weight"]})), r"name 'a\\nb' has characters"),
    ("native", _inside("vision_config", image_token_id=[361, 2]), r"image_token_id is \[361, 2\]; expected one"),
    ("phi3", _json("tokenizer_config.json", chat_template=[{"name": []}]), r"neither text nor a list"),
    ("phi3", _json("tokenizer_config.json", chat_template="{% if"), r"config.json: not a usable chat"),
    ("phi3", _json("tokenizer_config.json", chat_template="\udc80"), r"template is not valid Unicode"),
    ("phi3", _json("tokenizer_config.json", chat_template=" "), r"the chat template is empty"),
    ("phi3", lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), r"cannot be read \(Is a directory"),
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


_LORA_CONFIG = "speech-lora/adapter_config.json"
_AUDIO, _AUDIO_EMBEDDING = "audio_processor.config", "embd_layer.audio_embd_layer"
_IMAGE_EMBEDDING = "embd_layer.image_embd_layer"
# layout, how it is set, setting, a value that no supported model has
REQUIRED: list[tuple[Layout, Callable[..., Change], str, Any]] = [
    *(("phi3", _config, key, True) for key in ("attention_bias", "mlp_bias", "lm_head_bias")),
    ("phi3", _config, "hidden_act", "gelu"),
    ("phi3", _config, "tie_word_embeddings", False),
    ("native", partial(_json, _LORA_CONFIG), "peft_type", "LOHA"),
    ("native", partial(_json, _LORA_CONFIG), "bias", "all"),
    *(("native", partial(_json, _LORA_CONFIG), key, True)
      for key in ("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias")),
    ("native", partial(_inside, "vision_config"), "num_channels", 1),
    ("native", partial(_inside, "vision_config"), "hidden_act", "relu"),
    ("native", partial(_inside, "vision_config"), "image_size", 70),
    ("native", partial(_inside, "audio_config"), "nemo_activation", "gelu"),
    ("native", partial(_inside, "audio_config"), "bias_symmetric", True),
    *(("native", partial(_inside, "audio_config"), key, 2) for key in (
        "downsample_rate", "depthwise_separable_out_channel", "depthwise_multiplier", "chunk_size", "time_reduction",
        "input_size", "ext_pw_out_channel",
    )),
    *(("native", partial(_inside, "audio_config"), key, "relu")
      for key in ("activation", "conv_activation", "conv_glu_type")),
    ("original", partial(_inside, _IMAGE_EMBEDDING), "hd_transform_order", "glb_sub"),
    ("original", partial(_inside, _IMAGE_EMBEDDING), "image_token_compression_cls", "none"),
    ("original", partial(_inside, _IMAGE_EMBEDDING), "use_hd_transform", False),
    ("original", partial(_inside, _IMAGE_EMBEDDING), "with_learnable_separator", False),
    ("original", partial(_inside, _AUDIO), "input_layer", "conv2d"),
    *(("original", partial(_inside, _AUDIO), key, False) for key in ("causal", "cnn_layer_norm", "bias_in_glu")),
    ("original", partial(_inside, _AUDIO), "batch_norm", True),
    ("original", partial(_inside, _AUDIO), "depthwise_seperable_out_channel", 2),
    ("original", partial(_inside, _AUDIO_EMBEDDING), "downsample_rate", 2),
    ("original", partial(_inside, _AUDIO_EMBEDDING), "use_qformer", True),
    ("original", partial(_inside, _AUDIO_EMBEDDING), "use_conv_downsample", True),
    ("original", partial(_inside, f"{_AUDIO}.relative_attention_bias_args"), "type", "alibi"),
    ("original", partial(_inside, f"{_AUDIO}.relative_attention_bias_args"), "t5_bias_symmetric", True),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "change", "key", "value"), REQUIRED, ids=[f"{r[0]}-{r[2]}" for r in REQUIRED])
def test_a_setting_that_changes_the_arithmetic_is_refused(
    tmp_path: Path, layout: Layout, change: Callable[..., Change], key: str, value: Any
):
    folder = _copy(layout, tmp_path)
    change(**{key: value})(folder)
    with pytest.raises(ArtifactError, match=rf"{key} is {value!r}; only .* is supported"):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"model.norm.weight": "../other.safetensors"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "x\0.safetensors"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "\ud800.safetensors"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "weights.bin"}, "is not the name of a safetensors file"),
        ({"model.norm.weight": "model-00009-of-00002.safetensors"}, r"model-00009-of-00002\.safetensors: missing"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, index: dict[str, str], message: str):
    folder = _copy("original", tmp_path)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ArtifactError, match=message):
        export(folder, tmp_path / "out")


def test_an_index_that_names_a_tensor_which_is_not_there(tmp_path: Path):
    folder = _copy("original", tmp_path)
    change_json(
        folder / "model.safetensors.index.json",
        lambda c: c["weight_map"].update({"model.layers.9.x": "model-00001-of-00002.safetensors"}),
    )
    with pytest.raises(
        ArtifactError, match=r"model-00001-of-00002\.safetensors: tensor model\.layers\.9\.x is missing"
    ):
        export(folder, tmp_path / "out")


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path):
    folder = _copy("original", tmp_path)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    names = [name for name, place in json.loads(index.read_text())["weight_map"].items() if "00001" in place]
    places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ArtifactError, match=r"model-00002-of-00002\.safetensors: tensor .* is also in model-00001"):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize("missing", ["folder", "empty"])
def test_no_checkpoint_there(tmp_path: Path, missing: str):
    folder = tmp_path / "nothing"
    if missing == "empty":
        folder.mkdir()
    with pytest.raises(
        ArtifactError, match="nothing: no such checkpoint" if missing == "folder" else r"nothing/config\.json: missing"
    ):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_text_checkpoint_cannot_be_given_encoders(tmp_path: Path):
    with pytest.raises(ConfigError, match="this checkpoint has no vision; it has text"):
        export(small_checkpoint("phi3").path, tmp_path / "out", ExportOptions(modalities=("text", "vision")))
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="unknown recipe 'int3'; known: fp32"):
        export(tmp_path / "no such", tmp_path / "out", ExportOptions(recipe="int3"))


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))
