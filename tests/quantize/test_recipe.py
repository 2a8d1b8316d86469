"""A recipe must say for every weight how it is stored, and refuse what could not be followed."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from edgephi.base.errors import ConfigError
from edgephi.base.json_file import decode
from edgephi.bundle.manifest import RecipeInfo, RuleInfo
from edgephi_quantize.recipe import RECIPES, Recipe, SolvedAnew, make_recipe, parse_rule


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_the_manifest(name: str):
    """`verify` repeats an export from what the manifest says of it."""
    recipe = make_recipe(name)
    raw = json.loads(json.dumps(asdict(recipe.to_info())))
    assert Recipe.from_info(decode(RecipeInfo, raw, "edgephi.json: recipe")) == recipe


@pytest.mark.parametrize(
    ("recipe", "name", "expected"),
    [
        ("int4", "layers.3.self_attn.qkv_proj", "int4:32"),
        ("int4", "layers.3.mlp.down_proj", "int8:32"),
        ("int4", "layers.3.mlp.down_proj.lora_B.vision", "int8:32"),
        ("int4", "layers.11.self_attn.o_proj.lora_A.speech", "int8:32"),
        ("int4", "lm_head", "int8:32"),
        ("int4-fast", "lm_head", "int4:128"),
        ("int4-fast", "layers.3.mlp.down_proj", "int4:128"),
        ("int4-fast", "layers.3.mlp.gate_up_proj", "int4:256"),
        ("int4-fast", "layers.3.mlp.down_proj.lora_A.vision", "int8:32"),
        ("int8", "layers.3.mlp.down_proj", "int8:32"),
        ("int8", "speech.blocks.0.self_attn.q_proj", "int8:rows"),
        ("int4", "vision.projector.up", "int8:rows"),
        ("int2-absorbed", "layers.3.mlp.down_proj", "int2:128"),
        ("int2-absorbed", "layers.3.mlp.down_proj.lora_A.text", "int8:32"),
        ("int2-absorbed", "lm_head", "int4:128"),
        ("int4-fast", "vision.layers.0.mlp.fc1", "int8:rows"),
        ("fp32", "lm_head", "float32"),
        ("fp16", "vision.layers.0.mlp.fc1", "float16"),
        ("int4-gpu", "layers.0.mlp.gate_up_proj", "int4:32:symmetric"),
        ("int4-gpu", "speech.stem.out", "int8:32:symmetric"),
    ],
)
def test_which_weight_gets_which_format(recipe: str, name: str, expected: str):
    assert str(make_recipe(recipe).format_of(name)) == expected


@pytest.mark.parametrize("name", ["int4-gpu", "int4-gpu-fp32"])
def test_no_recipe_for_gpus_has_zero_points(name: str):
    """Their kernels are fast without them only."""
    recipe = make_recipe(name)
    assert recipe.is_for_gpu
    assert all(str(rule.format).endswith(":symmetric") for rule in recipe.rules)


def test_the_last_override_counts():
    rules = [parse_rule("layers.*=int8:64"), parse_rule("layers.1.*=float32")]
    recipe = make_recipe("int4", overrides=rules)
    assert str(recipe.format_of("layers.0.mlp.down_proj")) == "int8:64"
    assert str(recipe.format_of("layers.1.mlp.down_proj")) == "float32"
    assert str(recipe.format_of("lm_head")) == "int8:32"


def test_the_method_is_search_unless_asked_otherwise():
    assert make_recipe("int4").method == "search"
    assert make_recipe("int4", method="rtn").method == "rtn"
    assert make_recipe("fp32").method is None
    assert make_recipe("int2-absorbed").method == "gptq"  # 2 bits are never rounded to nearest
    assert make_recipe("fp32", overrides=[parse_rule("lm_head=int8:32")]).method == "search"


@pytest.mark.parametrize("text", ["lm_head", "=int4:32", "lm_head=", ""])
def test_what_is_no_rule_is_refused_with_an_example(text: str):
    with pytest.raises(ConfigError, match=r"PATTERN=FORMAT|unknown format"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"base": "int3"},
            r"unknown recipe 'int3'; known: fp32, int8, int4, int4-fast, int2-absorbed, fp16, int4-gpu, int4-",
        ),
        ({"base": "int4", "method": "hqq"}, r"unknown method 'hqq'; known: rtn, search, weighted, gptq"),
        ({"base": "fp32", "solve": SolvedAnew(correction_rank=1)}, r"recipe fp32 stores floats, whose error is"),
        ({"base": "fp32", "method": "rtn"}, r"--method rtn has nothing to choose: recipe fp32 stores floats"),
        ({"base": "int4", "overrides": [parse_rule("lm_*=int8:rows")]}, r"lm_head cannot be int8:rows"),
        ({"base": "int4", "overrides": [parse_rule("x=float16")]}, r"x=float16: recipe int4 computes with float32"),
        ({"base": "fp16", "overrides": [parse_rule("x=float32")]}, r"use float16 or another recipe"),
        ({"base": "fp16", "overrides": [parse_rule("x=int8:rows")]}, r"x=int8:rows: .* rows with float32 only"),
        ({"base": "int4-gpu", "overrides": [parse_rule("x=int8:rows")]}, r"use a block format or another recipe"),
    ],
)
def test_what_cannot_be_followed_is_refused(keywords: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        make_recipe(**keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("patterns", [(), ("lm_head",)])
def test_a_manifest_whose_rules_leave_a_weight_out_is_refused(patterns: tuple[str, ...]):
    """A damaged manifest must be distinguished from a fault of `verify`."""
    rules = tuple(RuleInfo(pattern=pattern, format="float32") for pattern in patterns)
    with pytest.raises(ConfigError, match=r"recipe fp32 has no rule for '\*'"):
        Recipe.from_info(RecipeInfo(name="fp32", method=None, activations="float32", rules=rules))
