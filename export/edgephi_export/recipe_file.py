"""Recipes as files, in the form in which a folder's record has them: saved by `--budget`, read by `--recipe FILE`."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ConfigError
from edgephi.base.json_file import decode, read_json
from edgephi.base.output_file import staged_file
from edgephi.bundle.manifest import RecipeInfo
from edgephi_quantize.recipe import RECIPES, Recipe, make_recipe

_LAYER = re.compile(r"layers\.(\d+)\.(.+)")


def read_recipe(name: str) -> Recipe:
    """The recipe of this name, or of the file at this path.

    Raises:
        ConfigError: There is neither, or the file asks for something impossible.
        ArtifactError: The file is damaged.
    """
    path = Path(name)
    if name in RECIPES or not path.is_file():
        return make_recipe(name)
    try:
        recipe = Recipe.from_info(decode(RecipeInfo, read_json(path), str(path)))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if recipe.activations != "float32" and not recipe.is_for_gpu:
        raise ConfigError(f"{path}: computes with {recipe.activations}, as recipes for GPUs do only; use float32")
    return recipe


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe to a file, whole or not at all.

    Raises:
        CapacityError: The disk is full.
        EdgeError: It cannot be written.
    """
    text = json.dumps(dataclasses.asdict(recipe.to_info()), indent=1)
    with writing(path), staged_file(path) as stream:
        stream.write(f"{text}\n".encode())


def recipe_path(output: Path) -> Path:
    """The file of the recipe that a budget chose for a folder."""
    return output.with_name(f"{output.name}.recipe.json")


def described(recipe: Recipe) -> str:
    """The formats of the matrices that have rules of their own, a line for each kind: `int4:128 in layers 0, 2`."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for rule in recipe.rules:
        if (match := _LAYER.fullmatch(rule.pattern)) is not None:
            kinds.setdefault(match[2], {}).setdefault(str(rule.format), []).append(match[1])
        elif "*" not in rule.pattern:
            kinds[rule.pattern] = {str(rule.format): []}
    return "\n".join(f"  {kind}: {'; '.join(map(_placed, formats.items()))}" for kind, formats in kinds.items())


def _placed(found: tuple[str, list[str]]) -> str:
    format_, layers = found
    return f"{format_} in layers {', '.join(layers)}" if layers else format_
