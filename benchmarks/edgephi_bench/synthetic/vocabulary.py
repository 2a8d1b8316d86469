"""A tokenizer of the public size: byte-level BPE with Phi-4's special tokens at their places.

The merges are not the public ones, which are not ours to give: words of lower-case letters are cut into pieces of up
to four, so an English text becomes about twice as many tokens as with a real vocabulary; loading costs as much.

    0..255 bytes | pairs | space and three letters | four letters ... | vocab - 65: special tokens and unused places
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Iterator
from pathlib import Path

from edgephi_bench.synthetic.sizes import SPECIAL_IDS, Sizes

#: Distance of each special token from the first place behind the regular vocabulary, 199999 in the public models.
SPECIAL_OFFSETS = {
    "<|endoftext|>": 0, "<|endoftext10|>": 11, "<|endoftext11|>": 12, "<|endofprompt|>": 19, "<|assistant|>": 20,
    "<|end|>": 21, "<|user|>": 22, "<|system|>": 23, "<|tool|>": 24, "<|/tool|>": 25, "<|tool_call|>": 26,
    "<|/tool_call|>": 27, "<|tool_response|>": 28, "<|tag|>": 29,
}  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not "
    "none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + "
    "'<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
_SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"  # how byte-level BPE writes a space


def special_id(token: str, vocab: int) -> int:
    """Id of one of SPECIAL_OFFSETS in a vocabulary of `vocab` ids."""
    return vocab - SPECIAL_IDS + SPECIAL_OFFSETS[token]


def write_tokenizer(folder: Path, sizes: Sizes) -> None:
    """Write tokenizer.json and tokenizer_config.json into an existing folder; every id has a token."""
    _write(folder / "tokenizer.json", _tokenizer(sizes.vocab))
    write_tokenizer_settings(folder)


def write_tokenizer_settings(folder: Path) -> None:
    """Write tokenizer_config.json, with the chat template, into an existing folder."""
    settings: dict[str, object] = {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<|endoftext|>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "GPT2TokenizerFast",
        "unk_token": "<|endoftext|>",
    }
    _write(folder / "tokenizer_config.json", settings)


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _tokenizer(vocab: int) -> dict[str, object]:
    first_special = vocab - SPECIAL_IDS
    merges = list(itertools.islice(_merges(), first_special - 256 - 1))
    tokens = [*_byte_tokens(), *(left + right for left, right in merges)]
    tokens += [f"<|unused_{i}|>" for i in range(len(tokens), vocab)]
    for token in SPECIAL_OFFSETS:
        tokens[special_id(token, vocab)] = token
    added = [_added(tokens[i], i) for i in range(256 + len(merges), vocab)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [[left, right] for left, right in merges],
        },
    }


def _added(token: str, number: int) -> dict[str, object]:
    return {
        "id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        "special": True,
    }  # fmt: skip


def _byte_tokens() -> list[str]:
    """The 256 characters that stand for bytes: themselves where printable, else from U+0100 on (GPT-2's rule)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = itertools.count(0x100)
    return [chr(byte if byte in printable else next(hidden)) for byte in range(256)]


def _merges() -> Iterator[tuple[str, str]]:
    """Pieces to merge, in order; each pair makes a token that no other makes."""
    letters = string.ascii_lowercase
    pairs = [first + second for first in letters for second in letters]
    yield from ((_SPACE, letter) for letter in letters)
    yield from itertools.product(letters, letters)
    yield from ((_SPACE + letter, pair) for letter in letters for pair in pairs)
    yield from itertools.product(pairs, pairs)
