"""The sampling options of one reply: how tokens are chosen, what must come out, and when it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_finite, is_whole
from edgephi.bundle.manifest import GenerationDefaults
from edgephi.generation.constraint import ConstraintSpec, is_constraint

MOST_BIAS = 100.0
MOST_PENALTY = 2.0
REPETITION_RANGE = (0.01, 100.0)
_MAX_NEW_TOKENS = 512
Bias = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRules:
    """How a token is chosen, nothing left open; the fields are those of SamplingOptions."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How a reply is chosen and when it is cut. `edgephi.generation.sampler.Sampler` documents the order of the steps.

    `temperature`, `top_k`, `top_p`, `min_p` and `repetition_penalty` are each None for what the model's makers advise,
    which the folder states (`Model.manifest.generation`): usually the likeliest token. A value that is given counts,
    whatever else is given. `SamplingOptions.greedy()` leaves nothing to advice.

    Attributes:
        max_new_tokens: The reply is cut after this many tokens.
        temperature: 0 always takes the likeliest token; larger is more random.
        top_k: Only the k likeliest tokens can be drawn; 0 for all.
        top_p: Only the smallest set of likeliest tokens that holds this much probability can be drawn (Holtzman et
            al. 2019, arXiv 1904.09751); 1.0 for all.
        min_p: Only tokens at least this likely, measured against the likeliest, can be drawn; 0.0 for all.
        repetition_penalty: Divides positive logits of tokens in the prompt or the reply, and multiplies negative ones
            (Keskar et al. 2019, arXiv 1909.05858); 1.0 for none, above 1 against repetition. 0.01 to 100.
        presence_penalty: Taken from the logit of every token in the reply so far; -2 to 2.
        frequency_penalty: Taken from a token's logit once for each time it is in the reply so far; -2 to 2.
        logit_bias: Added to the logits of these tokens, -100 to 100 each: by id, as a mapping or as pairs; kept as
            pairs.
        seed: Makes drawing reproducible; None draws afresh each time.
        stop: The reply ends before the first of these texts.
        logprobs: Report each token's log-probability and this many of the likeliest; None for none.
        constraint: What the whole reply must be: a JsonSchema, Regex or Grammar.
        speculation: Verify several draft tokens in one pass: True or False, or None to let the machine's
            speed decide. In a pass of several rows logits differ in their last digits, so where the two likeliest
            tokens are nearly equal a greedy reply may differ too; with a seed and a temperature, None means False.
        prediction: Text that the reply will probably repeat, such as a file before an edit: its tokens are the draft
            tokens that are verified first. It changes how long a reply takes and not the reply, and has no effect
            where `speculation` is False.
    """

    max_new_tokens: int = _MAX_NEW_TOKENS
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | Bias = ()
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    constraint: ConstraintSpec | None = None
    speculation: bool | None = None
    prediction: str = ""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_penalties()
        object.__setattr__(self, "logit_bias", _bias_pairs(self.logit_bias))
        object.__setattr__(self, "stop", _stop_texts(self.stop))
        if self.constraint is not None and not is_constraint(self.constraint):
            raise ConfigError(f"constraint is {self.constraint!r}; use a JsonSchema, a Regex, a Grammar or None")
        if self.speculation is not None and not isinstance(self.speculation, bool):
            raise ConfigError(f"speculation is {self.speculation!r}; use True, False or None")
        if not isinstance(self.prediction, str):
            raise ConfigError(f"prediction is {self.prediction!r:.80}; use a text, or an empty one for none")

    @classmethod
    def greedy(
        cls,
        *,
        max_new_tokens: int = _MAX_NEW_TOKENS,
        logprobs: int | None = None,
        logit_bias: Mapping[int, float] | Bias = (),
        speculation: bool | None = None,
    ) -> Self:
        """The likeliest token each time, whatever the model's makers advise: for measuring and comparing."""
        return cls(
            max_new_tokens=max_new_tokens,
            logprobs=logprobs,
            logit_bias=logit_bias,
            speculation=speculation,
            **asdict(DrawRules()),
        )

    def rules(self, advised: GenerationDefaults | None = None) -> DrawRules:
        """What is given, else what is advised, else the defaults of DrawRules."""
        names = [field.name for field in fields(DrawRules)]
        known = {name: getattr(advised, name) for name in names if hasattr(advised, name)}
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return DrawRules(**known | given)

    def filled(self, advised: GenerationDefaults) -> Self:
        """The same with the model's advice where nothing is given."""
        return replace(self, **asdict(self.rules(advised)))

    @property
    def bias_pairs(self) -> Bias:
        """`logit_bias`, by rising id."""
        return tuple(self.logit_bias.items()) if isinstance(self.logit_bias, Mapping) else self.logit_bias

    def _check_numbers(self) -> None:
        if not is_whole(self.max_new_tokens) or self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens!r}; use a whole number, 1 or more")
        if self.temperature is not None and (not is_finite(self.temperature) or self.temperature < 0):
            raise ConfigError(
                f"temperature is {self.temperature!r}; use 0 for the likeliest token, or a positive number"
            )
        if self.top_k is not None and (not is_whole(self.top_k) or self.top_k < 0):
            raise ConfigError(f"top_k is {self.top_k!r}; use 0 for all tokens, or a whole number")
        if self.top_p is not None and (not is_finite(self.top_p) or not 0 < self.top_p <= 1):
            raise ConfigError(f"top_p is {self.top_p!r}; use a number above 0, at most 1")
        if self.min_p is not None and (not is_finite(self.min_p) or not 0 <= self.min_p <= 1):
            raise ConfigError(f"min_p is {self.min_p!r}; use a number from 0 to 1")
        if self.seed is not None and (not is_whole(self.seed) or self.seed < 0):
            raise ConfigError(f"seed is {self.seed!r}; use a whole number, 0 or more, or None")
        if self.logprobs is not None and (not is_whole(self.logprobs) or self.logprobs < 0):
            raise ConfigError(f"logprobs is {self.logprobs!r}; use a whole number, 0 or more, or None")

    def _check_penalties(self) -> None:
        least, most = REPETITION_RANGE
        repetition = self.repetition_penalty
        if repetition is not None and (not is_finite(repetition) or not least <= repetition <= most):
            raise ConfigError(f"repetition_penalty is {repetition!r}; use 1 for none, {least} to {most:g}")
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            if not is_finite(value) or abs(value) > MOST_PENALTY:
                raise ConfigError(f"{name} is {value!r}; use a number from -{MOST_PENALTY:g} to {MOST_PENALTY:g}")


def _bias_pairs(given: object) -> Bias:
    """The biases as pairs in the order of their ids: hashable, and nobody can change them."""
    wanted = f"use token ids with numbers from -{MOST_BIAS:g} to {MOST_BIAS:g}, such as {{42: -100}}"
    try:
        pairs = [(token_id, bias) for token_id, bias in (given.items() if isinstance(given, Mapping) else given)]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ConfigError(f"logit_bias is {given!r}; {wanted}") from None
    for token_id, bias in pairs:
        if not is_whole(token_id) or token_id < 0 or not is_finite(bias) or abs(bias) > MOST_BIAS:
            raise ConfigError(f"logit_bias has {token_id!r}: {bias!r}; {wanted}")
    if len({token_id for token_id, _ in pairs}) < len(pairs):
        raise ConfigError("logit_bias names a token twice; give each token one bias")
    return tuple(sorted((int(token_id), float(bias)) for token_id, bias in pairs))


def _stop_texts(given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, tuple | list):  # a string would become its letters
        raise ConfigError(f"stop is {given!r}; use a tuple of texts, such as ('\\n\\n',)")
    for text in given:
        if not isinstance(text, str) or not text:
            raise ConfigError(f"stop has {text!r}; use texts of one character or more")
    return tuple(given)
