"""What a whole reply must be: JSON of a schema, a match of a regular expression, or a sentence of a grammar.

llguidance works on bytes: each token is the bytes it writes, control tokens write nothing and can never be part of a
reply but for the markers of tool calls where a grammar names them, and a token that ends the reply is allowed where the
grammar may end.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.generation.json_schema import read_schema
from edgephi.prompt.tokenizer import Tokenizer

#: Control tokens around a tool call, which a Grammar may name.
CALL_MARKERS = ("<|tool_call|>", "<|/tool_call|>")

# As Python's json writes it and models often do. Free white space would let a model write it without end.
_JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

#: A server's clients repeat their tools or schema in every request; each takes megabytes at most.
_MOST_COMPILED = 8

_ANYTHING = frozenset({"(?s).*", "(?s:.*)", r"[\s\S]*", r"(.|\n)*", "(.|\n)*", r"(?:.|\n)*"})


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The reply is JSON that a schema allows, on one line, keys in the order of the schema.

    Attributes:
        schema: As text or as the object that it describes, in OpenAI's wrapping or without; kept as text. Formats that
            cannot be enforced are annotations.
    """

    schema: str | Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", read_schema(self.schema))

    def __str__(self) -> str:
        return "the JSON schema"


@dataclass(frozen=True, slots=True)
class Regex:
    """The whole reply matches a regular expression of Rust's `regex` syntax: no look-around, no back references."""

    pattern: str

    def __post_init__(self) -> None:
        _check_text("pattern", self.pattern)
        if self.pattern in _ANYTHING:
            raise ConfigError(f"the regular expression {self.pattern!r} matches any text, so nothing would be enforced")

    def __str__(self) -> str:
        return "the regular expression"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The whole reply is a sentence of a context-free grammar, in llguidance's dialect of Lark; `start` is its root.

    It may name `<|tool_call|>` and `<|/tool_call|>`, the model's marks of a tool call.
    """

    lark: str

    def __post_init__(self) -> None:
        _check_text("lark", self.lark)
        object.__setattr__(self, "lark", self.lark.removeprefix("\ufeff"))

    def __str__(self) -> str:
        return "the grammar"


ConstraintSpec = JsonSchema | Regex | Grammar


class Constraint(Protocol):
    """What sampling needs: the state of one reply."""

    @property
    def is_done(self) -> bool:
        """Whether the reply is complete and nothing but its end may follow."""

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set the logits of all tokens that may not come next to -infinity.

        Args:
            logits: float32 [V]. Changed in place.

        Raises:
            EdgeError: No token may come next although the reply is not complete.
        """

    def accept(self, token_id: int) -> None:
        """The token became part of the reply.

        Raises:
            EdgeError: It may not come next.
        """


def is_constraint(value: object) -> bool:
    """Whether it is one of the three."""
    return isinstance(value, JsonSchema | Regex | Grammar)


def check_constraint(spec: ConstraintSpec) -> None:
    """Refuse what can be seen to be wrong without a model.

    Raises:
        ConfigError: A mistake in it, or something that llguidance does not support.
        EdgeError: llguidance is not installed.
    """
    llguidance = _library()
    failed, messages = llguidance.LLMatcher.validate_grammar_with_warnings(_grammar(llguidance, spec))
    if failed:
        _refuse(spec, messages[0])


class ConstraintCompiler:
    """Makes the constraints of one model's replies, from any thread. The last few that were compiled are kept.

    Args:
        tokenizer: The model's.
        eos: Ids that end a reply.
        vocab_size: Length of the model's logits.
    """

    def __init__(self, tokenizer: Tokenizer, *, eos: Sequence[int], vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._eos = list(eos)
        self._vocab_size = vocab_size
        self._bridge: Any = None  # made for the first constraint: it reads the whole vocabulary
        self._compiled: dict[ConstraintSpec, _MatcherConstraint] = {}  # the one that was used last stands last
        self._lock = threading.Lock()

    def start(self, spec: ConstraintSpec) -> Constraint:
        """The constraint of a new reply.

        Raises:
            ConfigError: A mistake in it, something that llguidance does not support, or no reply can meet it.
            EdgeError: llguidance is not installed.
        """
        with self._lock:
            found = self._compiled.pop(spec, None) or self._compile(spec)
            self._compiled[spec] = found
            if len(self._compiled) > _MOST_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            return found.copy()

    def _compile(self, spec: ConstraintSpec) -> _MatcherConstraint:
        check_constraint(spec)
        llguidance = _library()
        if self._bridge is None:
            self._bridge = _bridge(llguidance, self._tokenizer, self._eos, self._vocab_size)
        matcher = llguidance.LLMatcher(self._bridge, _grammar(llguidance, spec), log_level=0)
        if matcher.is_error():
            _refuse(spec, matcher.get_error())
        control = self._tokenizer.control.values()
        named = [marker for marker in CALL_MARKERS if isinstance(spec, Grammar) and marker in spec.lark]
        never = [token.id for token in control if token.id not in self._eos and token.content not in named]
        constraint = _MatcherConstraint(spec, matcher, never=never, eos=self._eos, vocab_size=self._vocab_size)
        if not constraint.can_begin():
            raise ConfigError(f"no reply can meet {spec}; change it")
        return constraint


class _MatcherConstraint:
    """A constraint followed by llguidance."""

    def __init__(
        self, spec: ConstraintSpec, matcher: Any, *, never: Sequence[int], eos: Sequence[int], vocab_size: int
    ) -> None:
        self._spec = spec
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._bits = np.zeros((vocab_size + 31) // 32, np.uint32)
        # A grammar can name tokens by number; control tokens are no text, so they stay out all the same.
        self._never = np.array([token_id for token_id in never if token_id < vocab_size], np.int64)
        self._eos = np.array(eos, np.int64)

    def copy(self) -> _MatcherConstraint:
        """Another reply's, in the state of this one."""
        made = copy.copy(self)
        made._matcher, made._bits = self._matcher.deep_copy(), self._bits.copy()
        return made

    @property
    def is_done(self) -> bool:
        return bool(self._matcher.is_stopped() and self._matcher.is_accepting())

    def can_begin(self) -> bool:
        """Whether a first token is allowed."""
        return bool(self._allowed().any()) and (not self._matcher.is_stopped() or self._matcher.is_accepting())

    def mask(self, logits: NDArray[np.float32]) -> None:
        allowed = self._allowed()
        if self._matcher.is_stopped() and not self._matcher.is_accepting():
            self._fail("cannot be met from here")
        np.copyto(logits, -np.inf, where=~allowed)

    def accept(self, token_id: int) -> None:
        if not self._matcher.consume_token(token_id):
            self._fail(f"does not allow token {token_id} here")

    def _allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next, bool [V]."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        flags = np.unpackbits(self._bits.view(np.uint8), count=self._vocab_size, bitorder="little").view(np.bool_)
        flags[self._never] = False
        if not self._matcher.is_accepting():
            flags[self._eos] = False
        return flags

    def _fail(self, what: str) -> NoReturn:
        reason = _reason(self._matcher.get_error()) if self._matcher.is_error() else "no token is left"
        raise EdgeError(f"{self._spec} {what} ({reason}); make it simpler or wider")


def _library() -> ModuleType:
    try:
        import llguidance  # noqa: PLC0415 - an extra, needed by few
    except ModuleNotFoundError:
        raise EdgeError('constrained output needs llguidance; run: pip install "edgephi[constrain]"') from None
    module: ModuleType = llguidance
    return module


def _bridge(llguidance: ModuleType, tokenizer: Tokenizer, eos: list[int], vocab_size: int) -> Any:
    """The tokenizer as llguidance sees it."""
    words = [tokenizer.token_bytes(token_id) for token_id in range(vocab_size)]
    control = [token for token in tokenizer.control.values() if token.id < vocab_size]
    for token in control:  # it wants a name; a grammar can use those of the call markers
        is_marker = token.content in CALL_MARKERS
        words[token.id] = token.content.encode("utf-8") if is_marker else b"<|control token %d|>" % token.id
    wrapped = llguidance.TokenizerWrapper(_Vocabulary(tokenizer, words, [token.id for token in control], eos))
    return llguidance.LLTokenizer(wrapped, eos_token=eos)


class _Vocabulary:
    """What llguidance asks of a tokenizer, under the names it looks for."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], special: list[int], eos: list[int]) -> None:
        self._tokenizer = tokenizer
        self.tokens = tokens
        self.special_token_ids = special
        self.eos_token_id = eos[0]

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode_text(text.decode("utf-8"))


def _grammar(llguidance: ModuleType, spec: ConstraintSpec) -> str:
    """The grammar in llguidance's own form, not checked yet."""
    matcher = llguidance.LLMatcher
    match spec:
        case JsonSchema():
            grammar = matcher.grammar_from_json_schema(spec.schema, defaults=_JSON_STYLE)
        case Regex():
            grammar = matcher.grammar_from_regex(spec.pattern)
        case Grammar():
            grammar = matcher.grammar_from_lark(spec.lark)
    return str(grammar)


def _refuse(spec: ConstraintSpec, message: str) -> NoReturn:
    raise ConfigError(f"{spec} cannot be used: {_reason(message)}")


def _reason(message: str) -> str:
    """The line of llguidance's report that says what is wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no reason given"]
    named = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return named[0] if named else lines[0].split("; following special tokens")[0]


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is {value!r}; use a text of one character or more")
