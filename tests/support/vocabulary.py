"""The small model's tokenizer: byte-level BPE with a few merges and Phi-4's special tokens and chat template.

ids 0..255 bytes | 256.. merges | 360..379 special tokens | ..399 never used
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

FIRST_SPECIAL_ID = 360
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|endoftext10|>", "<|endoftext11|>", "<|endofprompt|>", "<|assistant|>", "<|end|>", "<|user|>",
    "<|system|>", "<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>", "<|tag|>",
)  # fmt: skip
MERGED_WORDS = (
    "Ġthe", "Ġaudio", "Ġtext", "Ġimage", "Ġinto", "What", "Ġis", "Transcribe", "Ġclip", "Ġkitchen", "Ġlamp", "turn",
    "Ġon", "Ġoff", "ing",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not "
    "none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + "
    "'<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def special_id(token: str) -> int:
    """Id of one of SPECIAL_TOKENS."""
    return FIRST_SPECIAL_ID + SPECIAL_TOKENS.index(token)


def build_tokenizer() -> Tokenizer:
    """A new tokenizer of 374 entries; any text can be encoded."""
    vocab = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in MERGED_WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocab:
                vocab[word[:end]] = len(vocab)
                merges.append((word[: end - 1], word[end - 1]))
    for filler in range(len(vocab), FIRST_SPECIAL_ID):
        vocab[f"<|dummy_{filler}|>"] = filler
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into an existing folder."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
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
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
