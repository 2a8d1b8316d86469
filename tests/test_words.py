"""The vocabulary: the field's words in names and docstrings, so that a reader can search for them elsewhere."""

from __future__ import annotations

import ast
import functools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("runtime", "export", "quantize", "benchmarks", "batch", "tests")
#: Words that are no part of a name, each with the word to use and the reason.
REPLACED = {
    "picture": "image: papers, ONNX graphs and messages know only that word",
    "clip": "audio, or recording for a file: a clip is cut off something",
    "sound": "audio, or recording for a file: `sound` is also an adjective",
    "hear": "take, read or transcribe: a model hears nothing",
    "heard": "taken, read or transcribed",
    "ear": "transcriber or detector",
    "listener": "model: by the methods that are needed of it",
    "tell": "report, notify or observe",
    "told": "reported, notified or observed",
    "guess": "draft token: the word of the papers on speculative decoding",
    "guessed": "drafted",
    "propose": "draft",
    "proposed": "drafted",
    "proposal": "draft token",
    "forget": "evict one entry, clear all, truncate the end: three different things",
    "forgotten": "evicted, cleared or truncated",
    "border": "boundary for LongRoPE, end for a block",
    "watched": "cancellable, or what is done to it",
    "senses": "processor",
    "checkup": "diagnosis",
    "prospect": "estimate",
}
#: No name of a class: a participle says what was done to something, not what it is; the others are private words.
REPLACED_CLASSES = {
    *("Asked", "Chosen", "Decoded", "Found", "Given", "Heard", "Located", "Matched", "Measured", "Seen", "Shown"),
    *("Written", "Clock", "Handling", "Need", "Order", "Turns"),
}
#: Names that stay, by their file.
ALLOWED = {
    ("runtime/edgephi/audio/containers/view.py", "tell"): "the method of Python's binary files",
    ("runtime/edgephi/inspection/diagnosis.py", "prospects"): "a key of the JSON of `edgephi doctor`",
}
#: Docstrings of modules say what is not plain from the name, instead of these formulas.
FORMULA = re.compile(r"\bOwns\b|\bKnows? nothing\b", re.IGNORECASE)
#: Words that no message, help text, docstring or comment has.
METAPHOR = re.compile(r"\b(hears?|heard|told|tells|forgets?|forgotten|guess(?:es|ed)?|pictures?)\b", re.IGNORECASE)


@functools.cache
def _modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(_parsed())


def _parsed() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def _names(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that the file gives to something, with its line."""
    yield 0, Path(path).stem
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@functools.cache
def _parts(name: str) -> set[str]:
    """`FakeClip` and `_fake_clips` have the parts `fake` and `clip`; plurals and third persons lose their `s`."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    return {*words, *(word.removesuffix("s") for word in words), *(word.removesuffix("es") for word in words)}


def _prose(path: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings, help texts and messages, with their lines."""
    with (ROOT / path).open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
                yield token.start[0], token.string


def test_no_name_holds_a_replaced_word():
    found = {
        f"{path}:{line} {name}": f"{word}: {REPLACED[word]}"
        for path, tree in _modules()
        for line, name in _names(path, tree)
        for word in _parts(name) & REPLACED.keys()
        if (path, name) not in ALLOWED
    }
    assert found == {}


def test_no_class_is_named_by_a_participle_or_a_private_word():
    classes = {
        f"{path}:{node.lineno} {node.name}"
        for path, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.strip("_") in REPLACED_CLASSES
    }
    assert classes == set()


def test_no_module_is_described_by_what_it_owns():
    modules = [path for path, tree in _modules() if FORMULA.search(ast.get_docstring(tree) or "")]
    assert modules == []


def test_no_text_of_the_runtime_holds_a_metaphor():
    found = {
        f"{path}:{line}": match[0]
        for path, _ in _modules()
        if path.startswith("runtime/")
        for line, text in _prose(path)
        if (match := METAPHOR.search(text))
    }
    assert found == {}


def test_an_exception_that_is_not_needed_any_more_goes():
    names = {(path, name) for path, tree in _modules() for _, name in _names(path, tree)}
    assert set(ALLOWED) <= names
