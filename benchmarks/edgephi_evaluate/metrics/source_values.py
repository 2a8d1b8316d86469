"""Arguments that a model writes as Java or JavaScript source, read as BFCL's check of such calls reads them.

What has not the form of its declared type stays text, as a variable would be. Rules are those of bfcl-eval 2026.3.23,
its oddities included: strings in a Java array keep their quotes, those in a list lose them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_WHOLE, _DECIMAL, _EXPONENT = r"-?\d+", r"-?\d+(?:\.\d+)?", r"(?:[eE][+-]?\d+)?"
_BOOLEANS = {"true": True, "false": False}
#: Types of numbers: how one is written, and its kind. What follows the digits is cut off.
_JAVA_NUMBERS: dict[str, tuple[str, type]] = {
    **dict.fromkeys(("byte", "short", "integer"), (rf"({_WHOLE})", int)),
    "long": (rf"({_WHOLE})[lL]", int),
    "float": (rf"({_DECIMAL}{_EXPONENT})[fF]", float),
    "double": (rf"({_DECIMAL}{_EXPONENT})", float),
}
_JAVASCRIPT_NUMBERS: dict[str, tuple[str, type]] = {
    "integer": (rf"({_WHOLE})", int),
    "float": (rf"({_DECIMAL})", float),
    "Bigint": (rf"({_WHOLE})n", int),
}
_JAVA_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_JAVA_LIST = re.compile(
    r"new\s+ArrayList<\w*>\((?:Arrays\.asList\((?P<items>.+?)\)\)|\)\s*\{\{(?P<adds>.+?)\}\}|\))", re.DOTALL
)
_JAVA_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)(?:\s*\{\s*\{?(?P<puts>.*?)\}?\s*\})?", re.DOTALL)
_SCRIPT_ARRAY = re.compile(r"\[(.*?)\]|new\s+Array\((.*?)\)")
_SCRIPT_ROWS = re.compile(r"(?:\[|new\s+Array\()\s*(\[.*?\](?:\s*,\s*\[.*?\])*)\s*[\])]")
_SCRIPT_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def java_value(text: str, kind: str, inner: str | None = None) -> Any:
    """The value of a Java expression.

    Args:
        text: The expression.
        kind: Its declared type.
        inner: That of the elements of an Array or ArrayList.
    """
    if kind == "boolean":
        return _BOOLEANS.get(text, text)
    if kind in _JAVA_NUMBERS:
        return _number(text, *_JAVA_NUMBERS[kind])
    if kind == "Array" and (match := _JAVA_ARRAY.search(text)):
        return [java_value(one, inner or "any") for one in _split(match[1]) if one]
    if kind == "ArrayList" and (match := _JAVA_LIST.search(text)):
        items = _split(match["items"]) if match["items"] else re.findall(r"add\((.+?)\)", match["adds"] or "")
        return [_list_element(one.strip(), inner or "any") for one in items]
    if kind == "HashMap" and (match := _JAVA_MAP.search(text)):
        pairs = re.findall(r'put\("(.*?)",\s*(.*?)\)', match["puts"] or "")
        return {key: _java_literal(value.strip()) for key, value in pairs}
    return text


def javascript_value(text: str, kind: str, inner: str | None = None) -> Any:
    """The value of a JavaScript expression; arguments as those of `java_value`."""
    if kind == "String":
        return text[1:-1] if _is_quoted(text) else text
    if kind == "Boolean":
        return _BOOLEANS.get(text, text)
    if kind in _JAVASCRIPT_NUMBERS:
        return _number(text, *_JAVASCRIPT_NUMBERS[kind])
    if kind == "array":
        return _script_array(text.strip(), inner)
    return _script_object(text.strip()) if kind == "dict" else text


def _number(text: str, form: str, kind: Callable[[str], Any]) -> Any:
    match = re.fullmatch(form, text)
    return kind(match[1]) if match else text


def _split(items: str) -> list[str]:
    return [one.strip() for one in items.split(",")]


def _list_element(text: str, inner: str) -> Any:
    return text[1:-1] if inner in ("char", "String") else java_value(text, inner)


def _java_literal(text: str) -> Any:
    for kind in ("long", "float"):
        if (value := java_value(text, kind)) != text:
            return value
    return _literal(text, '"')


def _script_array(code: str, inner: str | None) -> Any:
    if rows := _SCRIPT_ROWS.match(code):
        return [[_literal(one) for one in _split(row)] for row in re.findall(r"\[(.*?)\]", rows[1])]
    match = _SCRIPT_ARRAY.match(code)
    if match is None:
        return code
    items = (match[1] if match[1] is not None else match[2]).strip()
    elements = _split(items) if items else []
    return [_literal(one) if inner is None else javascript_value(one, inner) for one in elements]


def _script_object(code: str) -> Any:
    match = re.match(r"\{(.*?)\}", code)
    if match is None:
        return code
    values = {key.strip().strip("'\""): value.strip() for key, value in _SCRIPT_PAIR.findall(match[1])}
    return {key: _script_member(value) for key, value in values.items()}


def _script_member(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return _script_array(text, None)
    if text.startswith("{") and text.endswith("}"):
        return _script_object(text)
    return _literal(text.strip("'\""))


def _literal(text: str, marks: str = "\"'") -> Any:
    """A value whose type nobody declared."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _is_quoted(text, marks):
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_quoted(text: str, marks: str = "\"'") -> bool:
    return any(text.startswith(mark) and text.endswith(mark) for mark in marks)
