"""Spells a small checkpoint as other writers would: the same model in other words, chosen at random.

Every change keeps the meaning that transformers 4 and 5 give the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from support.tensor_files import change_json

Config = dict[str, Any]
Random = np.random.Generator
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_ROPE_KEYS = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
#: Settings that only say what is the default.
_DEFAULTS: Config = {
    "attention_bias": False, "mlp_bias": False, "lm_head_bias": False, "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "head_dim": 64, "layer_types": ["full_attention"] * 2, "quantization_config": None,
}  # fmt: skip


#: The same in the parts of the native layout.
_PART_DEFAULTS = {
    "vision_config": ("num_channels", "hidden_act", "feature_layer", "layer_norm_eps", "patch_size"),
    "audio_config": ("activation", "chunk_size", "depthwise_multiplier", "input_size", "time_reduction", "kernel_size"),
}


def respell(folder: Path, random: Random) -> list[str]:
    """Change the files of a checkpoint in place; gives the names of what was done, for messages."""
    _join(folder)
    changes = (_rope, _defaults, _dtype, _names, _table, _shards, _template, _ends, _marks, _processor)
    chosen = [change for change in changes if random.random() < 0.7]
    return [f"{change.__name__}: {change(folder, random)}" for change in chosen]


def _join(folder: Path) -> None:
    """One weight file where there were several, so that every change finds all tensors."""
    if not (folder / INDEX).is_file():
        return
    (folder / INDEX).unlink()
    parts = sorted(folder.glob("model-*.safetensors"))
    tensors = {name: value for part in parts for name, value in load_file(part).items()}
    for part in parts:
        part.unlink()
    save_file(tensors, folder / WEIGHTS)


def _pick(random: Random, *choices: str) -> str:
    return str(random.choice(choices))


def _config(folder: Path, change: Callable[[Config], object]) -> None:
    change_json(folder / "config.json", change)


def _rope(folder: Path, random: Random) -> str:
    """Transformers 4, 5, or both; and each shared key inside, outside or at both places."""
    form = _pick(random, "rope_parameters", "rope_scaling", "both")
    kind = _pick(random, "type", "rope_type", "two", "su")

    def change(config: Config) -> None:
        rope = config.pop("rope_scaling")
        rope.pop("type")
        rope |= {"two": {"type": "longrope", "rope_type": "longrope"}, "su": {"type": "su"}}.get(
            kind, {kind: "longrope"}
        )
        if random.random() < 0.3:
            rope["factor"] = None if random.random() < 0.5 else 32.0
        for key in _ROPE_KEYS:
            place = _pick(random, "inside", "outside", "both") if form != "rope_scaling" else "outside"
            if place != "outside":
                rope[key] = config[key]
            if place == "inside":
                config.pop(key) if random.random() < 0.5 else config.update({key: None})
        for name in ("rope_scaling", "rope_parameters"):
            if form in (name, "both"):
                config[name] = dict(rope)
            elif random.random() < 0.5:
                config[name] = None

    _config(folder, change)
    return f"{form}, {kind}"


def _defaults(folder: Path, random: Random) -> str:
    """What says the default is there, null, or absent."""
    chosen = {key: _pick(random, "stated", "null", "absent") for key in _DEFAULTS}

    def change(config: Config) -> None:
        for part, defaults in _PART_DEFAULTS.items():
            for key in defaults if isinstance(config.get(part), dict) else ():
                config[part].update({key: None}) if random.random() < 0.5 else config[part].pop(key, None)
        for key, form in chosen.items():
            if key in _ROPE_KEYS and config.get(key) is None:
                continue
            config.pop(key, None)
            if form != "absent":
                config[key] = _DEFAULTS[key] if form == "stated" else None

    _config(folder, change)
    return str(chosen)


def _dtype(folder: Path, random: Random) -> str:
    form = _pick(random, "dtype", "torch_dtype", "both", "neither")

    def change(config: Config) -> None:
        config.pop("torch_dtype", None)
        config |= {key: "bfloat16" for key in ("dtype", "torch_dtype") if form in (key, "both")}

    _config(folder, change)
    return form


def _tensors(folder: Path, change: Callable[[Config], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def _names(folder: Path, random: Random) -> str:
    """What wrappers put in front of names, and what a model without its head leaves out."""
    prefix = _pick(
        random, "module.", "_orig_mod.", "_orig_mod.module.", "base_model.model.", "language_model.", "-model."
    )

    def change(tensors: Config) -> None:
        for name in list(tensors):
            new = name.removeprefix("model.") if prefix == "-model." else prefix + name
            tensors[new] = tensors.pop(name)

    _tensors(folder, change)
    return prefix


def _table(folder: Path, random: Random) -> str:
    """The tied table under either name, as safetensors' save_model keeps it, or both; buffers of old releases."""
    form = _pick(random, "head alone", "both", "both, not said to be tied", "a buffer")

    def change(tensors: Config) -> None:
        [name] = [name for name in tensors if name.endswith("embed_tokens.weight")]
        prefix = name.removesuffix("embed_tokens.weight").removesuffix("model.")
        if form == "a buffer":
            tensors[f"{prefix}model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(24, np.float32)
        else:
            tensors[prefix + HEAD] = tensors.pop(name) if form == "head alone" else tensors[name].copy()

    _tensors(folder, change)
    if "not said" in form:
        _config(folder, lambda config: config.update(tie_word_embeddings=False))
    return form


def _shards(folder: Path, random: Random) -> str:
    """Any number of files with an index; a tensor may be in any of them."""
    tensors, count = load_file(folder / WEIGHTS), int(random.integers(1, 5))
    (folder / WEIGHTS).unlink()
    names = [f"model-{part + 1:05d}-of-{count:05d}.safetensors" for part in range(count)]
    places = {name: names[int(random.integers(count))] for name in tensors}
    for name in set(places.values()):
        save_file({key: value for key, value in tensors.items() if places[key] == name}, folder / name)
    index = {"weight_map": places} | ({"metadata": {"total_size": 1}} if random.random() < 0.5 else {})
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return str(count)


def _template(folder: Path, random: Random) -> str:
    """The chat template in any of the three files, or in two of them."""
    form = _pick(random, "jinja", "json", "list", "jinja and json")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = settings.pop("chat_template", None) or (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if form == "list":
        settings["chat_template"] = [{"name": "other", "template": "no"}, {"name": "default", "template": template}]
    if "jinja" in form:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if "json" in form:
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return form


def _ends(folder: Path, random: Random) -> str:
    """Ends in either file, as a number or a list; a generation config with nulls, or none."""
    form, path = _pick(random, "no file", "nulls", "config alone"), folder / "generation_config.json"
    ends = json.loads(path.read_text(encoding="utf-8"))["eos_token_id"]
    if form == "no file":
        path.unlink()
    elif form == "nulls":
        change_json(path, lambda c: c.update(dict.fromkeys(("temperature", "top_k", "top_p", "do_sample", "min_p"))))
    else:
        change_json(path, lambda c: c.update(eos_token_id=None))
        _config(folder, lambda c: c.update(eos_token_id=ends))
    return form


def _marks(folder: Path, random: Random) -> str:
    """A byte order mark, as some editors of Windows leave it."""
    name = _pick(random, "config.json", "tokenizer_config.json")
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    return name


def _processor(folder: Path, random: Random) -> str:
    """The image's settings in either release's file, in both, or (they are the defaults) in none."""
    old = folder / "preprocessor_config.json"
    if not old.is_file():
        return "no images"
    native = (folder / "speech-lora").is_dir()
    form = _pick(random, "new", "both", *["none"] * native)
    if form != "none":
        settings = json.loads(old.read_text(encoding="utf-8"))
        new = {"image_processor": settings, "processor_class": "Phi4MultimodalProcessor"}
        (folder / "processor_config.json").write_text(json.dumps(new), encoding="utf-8")
    if form != "both":
        old.unlink()
    return form
