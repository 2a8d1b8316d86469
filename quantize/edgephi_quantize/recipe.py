"""Recipes: which weight is stored in which format, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import ONE_PURPOSE, FloatName, RecipeInfo, RuleInfo
from edgephi.bundle.prefill_info import PREFILL
from edgephi_quantize.formats import BlockFormat, FloatFormat, Format, RowFormat, parse_format
from edgephi_quantize.methods import METHODS

DEFAULT_METHOD = "search"
#: The tied table: the decoder's head and the embedding rows are the same bytes.
HEAD = "lm_head"
#: Ends the names of the correction's matrices, where those of adapters have the adapter's.
_CORRECTION = "text"
_LORA = "*.lora_?.*"
_FOR_GPU = ("fp16", "int4-gpu", "int4-gpu-fp32")


@dataclass(frozen=True, slots=True)
class Rule:
    """Weights whose canonical names match the glob `pattern` are stored in `format`."""

    pattern: str
    format: Format

    def matches(self, name: str) -> bool:
        """Whether it is about the weight called `name`."""
        return fnmatchcase(name, self.pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedAnew:
    """What takes in the error of the base's codes; None for the recipe's own way.

    Attributes:
        adapters: The routed adapters.
        correction_rank: A correction of this rank where no adapter is routed; 0 for none.

    Raises:
        ConfigError: The rank is below 0.
    """

    adapters: bool | None = None
    correction_rank: int | None = None

    def __post_init__(self) -> None:
        if self.correction_rank is not None and self.correction_rank < 0:
            raise ConfigError(f"correct_rank is {self.correction_rank}; use 0 for no correction, or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How every linear of a model is stored; all other weights have the type of the activations.

    Attributes:
        name: What `--recipe` and the manifest call it.
        activations: What the graphs compute with.
        rules: The last one that matches a weight's name counts.
        method: How codes are chosen; None where there are none.
        absorbed: Routed adapters are solved anew, so that each takes in the error of the decoder's base.
        correction_rank: Rank of the correction that takes in the base's error where no adapter is routed; 0 for none.
    """

    name: str
    activations: FloatName
    rules: tuple[Rule, ...]
    method: str | None
    absorbed: bool = False
    correction_rank: int = 0

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in METHODS:
            raise ConfigError(f"unknown method {self.method!r}; known: {', '.join(METHODS)}")
        if self.has_codes != (self.method is not None):
            raise ConfigError(
                f"recipe {self.name} stores {'' if self.has_codes else 'no '}codes; method is {self.method}"
            )
        if not any(rule.pattern == "*" for rule in self.rules):
            raise ConfigError(f"recipe {self.name} has no rule for '*', so that a weight may be left without a format")
        for rule in self.rules:
            self._check_activations(rule)
        if isinstance(self.format_of(HEAD), RowFormat):
            raise ConfigError(f"{HEAD} cannot be int8:rows: embedding rows are read from it; use a block format")

    def _check_activations(self, rule: Rule) -> None:
        if isinstance(rule.format, FloatFormat) and rule.format.dtype != self.activations:
            raise ConfigError(
                f"{rule.pattern}={rule.format}: recipe {self.name} computes with {self.activations}, and a float "
                f"weight must have that type; use {self.activations} or another recipe"
            )
        if isinstance(rule.format, RowFormat) and self.activations != "float32":
            raise ConfigError(
                f"{rule.pattern}={rule.format}: recipe {self.name} computes with {self.activations}, and ONNX Runtime "
                "multiplies rows with float32 only; use a block format or another recipe"
            )

    @property
    def has_codes(self) -> bool:
        """Whether any weight is stored in blocks."""
        return any(isinstance(rule.format, BlockFormat) for rule in self.rules)

    @property
    def is_for_gpu(self) -> bool:
        """Whether the graphs are made of what GPUs have kernels for."""
        return self.name in _FOR_GPU

    def format_of(self, name: str) -> Format:
        """The format of the weight called `name`."""
        return next(rule.format for rule in reversed(self.rules) if rule.matches(name))

    @property
    def needs_inputs(self) -> bool:
        """Whether the decoder's matrices are solved on calibration examples, layer after layer."""
        chosen = self.method is not None and METHODS[self.method].needs_inputs
        return chosen or self.absorbed or self.correction_rank > 0 or self.name == ONE_PURPOSE

    def is_solved_anew(self, name: str) -> bool:
        """Whether the tensor called `name` is a matrix that the checkpoint does not hold: it has nothing to equal."""
        is_adapter = fnmatchcase(name, _LORA) and not name.startswith(PREFILL)
        return is_adapter and (self.absorbed or name.endswith(f".{_CORRECTION}"))

    def to_info(self) -> RecipeInfo:
        """The recipe as the manifest records it."""
        return RecipeInfo(
            name=self.name,
            method=self.method,
            activations=self.activations,
            rules=tuple(RuleInfo(pattern=rule.pattern, format=str(rule.format)) for rule in self.rules),
            absorbed=self.absorbed,
            correction_rank=self.correction_rank,
        )

    @classmethod
    def from_info(cls, info: RecipeInfo) -> Recipe:
        """The recipe of a manifest.

        Raises:
            ConfigError: It names a format or method that this version does not know.
        """
        rules = tuple(Rule(rule.pattern, parse_format(rule.format)) for rule in info.rules)
        return cls(
            name=info.name,
            activations=info.activations,
            rules=rules,
            method=info.method,
            absorbed=info.absorbed,
            correction_rank=info.correction_rank,
        )


def correction_names(linear: str) -> tuple[str, str]:
    """The names of the matrices A and B of a linear's correction."""
    return f"{linear}.lora_A.{_CORRECTION}", f"{linear}.lora_B.{_CORRECTION}"


def parse_rule(text: str) -> Rule:
    """A rule from `PATTERN=FORMAT`.

    Raises:
        ConfigError: It has another form, or the format is not known.
    """
    pattern, equals, name = text.partition("=")
    if not (pattern and equals):
        raise ConfigError(f"{text!r} is no rule; write PATTERN=FORMAT, such as 'layers.*.mlp.down_proj=int8:32'")
    return Rule(pattern, parse_format(name))


def make_recipe(
    base: str | Recipe,
    *,
    method: str | None = None,
    overrides: Iterable[Rule] = (),
    with_prefill: bool = False,
    solve: SolvedAnew | None = None,
) -> Recipe:
    """A recipe with further rules.

    Args:
        base: The recipe, or the name of one of RECIPES.
        method: How codes are chosen; None for the recipe's own way.
        overrides: Rules that count more than the recipe's.
        with_prefill: There is a graph for prefill, whose linears are `int8:rows` but for overrides that name them: a
            pattern that starts with `prefill.`.
        solve: What is solved anew; None for the recipe's own way.

    Raises:
        ConfigError: An unknown name or method, a method where there are no codes to choose, or a rule that cannot be
            followed.
    """
    if isinstance(base, str):
        if base not in RECIPES:
            raise ConfigError(f"unknown recipe {base!r}; known: {', '.join(RECIPES)}, or the path of a recipe file")
        base = RECIPES[base]
    rules = (*base.rules, *overrides)
    if with_prefill:
        own = [rule for rule in rules if rule.pattern.startswith(PREFILL)]
        rules = (*(rule for rule in rules if rule not in own), Rule(f"{PREFILL}*", RowFormat()), *own)
    has_codes = any(isinstance(rule.format, BlockFormat) for rule in rules)
    if method is not None and not has_codes:
        raise ConfigError(f"--method {method} has nothing to choose: recipe {base.name} stores floats")
    chosen = method or base.method or (DEFAULT_METHOD if has_codes else None)
    anew = SolvedAnew() if solve is None else solve
    if (anew.adapters or anew.correction_rank) and not has_codes:
        raise ConfigError(
            f"recipe {base.name} stores floats, whose error is nothing; leave out --absorb and --correct-rank"
        )
    return dataclasses.replace(
        base,
        rules=rules,
        method=chosen,
        absorbed=base.absorbed if anew.adapters is None else anew.adapters,
        correction_rank=base.correction_rank if anew.correction_rank is None else anew.correction_rank,
    )


def _recipe(name: str, activations: FloatName, rules: dict[str, Format], method: str = DEFAULT_METHOD) -> Recipe:
    has_codes = any(isinstance(format_, BlockFormat) for format_ in rules.values())
    return Recipe(
        name=name,
        activations=activations,
        rules=tuple(Rule(pattern, format_) for pattern, format_ in rules.items()),
        method=method if has_codes else None,
    )


_DOWN = "layers.*.mlp.down_proj"
_INT8, _INT4 = BlockFormat(bits=8, block_size=32), BlockFormat(bits=4, block_size=32)
_INT2_128 = BlockFormat(bits=2, block_size=128)
_INT4_128, _INT4_256 = BlockFormat(bits=4, block_size=128), BlockFormat(bits=4, block_size=256)
_INT8_GPU = BlockFormat(bits=8, block_size=32, symmetric=True)
_INT4_GPU = BlockFormat(bits=4, block_size=32, symmetric=True)
_HALF = FloatFormat(dtype="float16")
_ENCODERS: dict[str, Format] = {"vision.*": RowFormat(), "speech.*": RowFormat()}
_GPU_RULES: dict[str, Format] = {
    "*": _INT4_GPU, HEAD: _INT8_GPU, _DOWN: _INT8_GPU, _LORA: _INT8_GPU, "vision.*": _INT8_GPU, "speech.*": _INT8_GPU,
}  # fmt: skip

#: Phi-4-mini repeats itself with a head of 4 bits and loops with a down_proj of 4 bits (public reports), so `int4` has
#: both at 8. `int4-fast` moves the fewest bytes per token instead, in finer blocks for these two than for the rest. On
#: normally distributed weights, blocks of 256 are 0.5 dB worse than blocks of 128. Encoders have hundreds of rows at
#: once, where int8 by rows is twice as fast on a CPU as int8 in blocks. `int2-absorbed` has 2 bits only
#: together with a correction in the rank of the adapter that is merged.
#: Kernels of GPUs are fastest without zero points; `int4-gpu-fp32` is for GPUs that have no float16.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _recipe("fp32", "float32", {"*": FloatFormat(dtype="float32")}),
        _recipe("int8", "float32", {"*": _INT8, **_ENCODERS}),
        _recipe("int4", "float32", {"*": _INT4, HEAD: _INT8, _DOWN: _INT8, _LORA: _INT8, **_ENCODERS}),
        _recipe("int4-fast", "float32", {"*": _INT4_256, HEAD: _INT4_128, _DOWN: _INT4_128, _LORA: _INT8, **_ENCODERS}),
        _recipe(ONE_PURPOSE, "float32", {"*": _INT2_128, HEAD: _INT4_128, _LORA: _INT8, **_ENCODERS}, "gptq"),
        _recipe("fp16", "float16", {"*": _HALF}),
        _recipe("int4-gpu", "float16", _GPU_RULES),
        _recipe("int4-gpu-fp32", "float32", _GPU_RULES),
    )
}
