"""The recipe that the options of an export ask for."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import ONE_PURPOSE, AdapterInfo
from edgephi_export.checkpoint.selection import Selection
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.options import ExportOptions
from edgephi_export.recipe_file import read_recipe
from edgephi_quantize.recipe import RECIPES, Recipe, Rule, SolvedAnew, make_recipe, parse_rule

#: Recipes whose adapters take in the error of the base: nano's images lose less, with few examples too, no mode more.
_ABSORBED = ("int4", "int4-fast")


def recipe_of(options: ExportOptions, gated: tuple[Rule, ...] = (), weights: WeightSource | None = None) -> Recipe:
    """The recipe of an export.

    Args:
        options: The options.
        gated: Rules of the gate of the graph for prefill; the user's own count more.
        weights: Of the checkpoint, whose codes are kept as they are where the recipe stores codes; None before it is
            opened.

    Raises:
        ConfigError: The options name no recipe, or a rule cannot be read.
    """
    base = read_recipe(options.recipe)
    kept = () if weights is None or not base.has_codes else _kept(weights)
    return make_recipe(
        base,
        method=options.method or ("gptq" if _has_examples(options, base) else None),
        overrides=(*kept, *gated, *map(parse_rule, options.overrides)),
        with_prefill=options.prefill is not None,
        solve=SolvedAnew(adapters=options.absorb, correction_rank=options.correct_rank),
    )


def _has_examples(options: ExportOptions, base: Recipe) -> bool:
    """Whether codes can be chosen by the outputs' error: the best way that is known, so the one where it can be had.

    A recipe file says itself how its codes are chosen, and the kernels of GPUs need no other codes than they have.
    """
    is_own = options.recipe in RECIPES and base.has_codes and not base.is_for_gpu
    return options.budget is not None or (is_own and any(Path(path).is_dir() for path in options.calibration))


def _kept(weights: WeightSource) -> tuple[Rule, ...]:
    """Rules that keep a checkpoint's codes as they are: one for each kind of linear, or each linear, that has them."""
    rules: dict[str, Rule] = {}
    for name, format_ in weights.coded.items():
        stem, kind = name.removesuffix(".weight"), re.sub(r"^layers\.\d+", "layers.*", name)
        whole = all(fnmatchcase(other, kind) <= (other in weights.coded) for other in weights.shapes)
        pattern = kind.removesuffix(".weight") if whole else stem
        rules[pattern] = Rule(pattern, format_)
    return tuple(rules.values())


def check_coded(options: ExportOptions, recipe: Recipe, weights: WeightSource) -> None:
    """Refuse to choose codes anew where the checkpoint's are kept.

    Raises:
        ConfigError: It was asked for.
    """
    if weights.coded and (recipe.needs_inputs or options.budget is not None):
        asked = "a budget" if options.budget is not None else "--calibration with a folder of examples"
        if options.method in ("weighted", "gptq"):
            asked = f"--method {options.method}"
        elif options.correct_rank:
            asked = "--correct-rank"
        raise ConfigError(
            f"{asked}: the checkpoint holds codes, which are kept as they are; leave it out, or export the model that "
            "they were made from"
        )


def check_cpu_recipe(options: ExportOptions, what: str) -> None:
    """Refuse a recipe whose graphs are for GPUs.

    Args:
        options: The options.
        what: The option that the CPU is needed for.

    Raises:
        ConfigError: The recipe is one for GPUs, or unknown.
    """
    recipe = read_recipe(options.recipe)
    if recipe.is_for_gpu:
        raise ConfigError(
            f"recipe {recipe.name} computes with {recipe.activations}, for GPUs; {what} is for the CPU: use int4, "
            "int4-fast, int8 or fp32"
        )


def check_budget(options: ExportOptions) -> None:
    """Refuse a budget that cannot be followed, and what is for budgets only.

    Raises:
        ConfigError: So it is.
    """
    if options.budget is None:
        if options.sensitivity is not None:
            raise ConfigError("--sensitivity is for --budget and --bits; add one of them, or leave it out")
        return
    check_cpu_recipe(options, "a budget")
    if options.layout == "transformersjs":
        raise ConfigError("--layout transformersjs has no name for a mixed recipe; leave out --budget and --bits")


def check_purpose(recipe: Recipe, selection: Selection) -> None:
    """Refuse the recipe for folders of one purpose for any other folder.

    Raises:
        ConfigError: No adapter is merged.
    """
    if recipe.name == ONE_PURPOSE and selection.mode in ("routed", "none"):
        raise ConfigError(
            f"recipe {ONE_PURPOSE} is for folders of one purpose; add --adapters speech or --adapters vision, or use "
            "another recipe"
        )


def with_absorption(options: ExportOptions, selection: Selection, served: frozenset[str]) -> ExportOptions:
    """The options; adapters are solved anew where nothing else is said, the base has 4 bits, and all have examples.

    Args:
        options: The options.
        selection: What is exported.
        served: The adapters that serve the examples.
    """
    by_gptq = options.method in (None, "gptq") and options.recipe in _ABSORBED
    if options.absorb is not None or not by_gptq or selection.mode != "routed":
        return options
    return replace(options, absorb=served.issuperset(selection.adapters))


def with_rank(options: ExportOptions, adapters: tuple[AdapterInfo, ...]) -> ExportOptions:
    """The options; the recipe for folders of one purpose corrects in the rank of the adapter, unless another is given.

    Args:
        options: The options.
        adapters: Those that the export reads.
    """
    if options.recipe != ONE_PURPOSE or options.correct_rank:
        return options
    return replace(options, correct_rank=adapters[0].rank)
