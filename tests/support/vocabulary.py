"""The small model's tokenizer: byte-level BPE with a few merges and Phi-4's special tokens and chat template.

ids 0..255 bytes | 256.. merges | 360..379 special tokens | ..399 never used
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from edgephi_bench.synthetic.vocabulary import CHAT_TEMPLATE, SPECIAL_OFFSETS, write_tokenizer_settings

__all__ = ["CHAT_TEMPLATE", "FIRST_SPECIAL_ID", "SPECIAL_TOKENS", "build_tokenizer", "special_id", "write_tokenizer"]

FIRST_SPECIAL_ID = 360
SPECIAL_TOKENS = tuple(SPECIAL_OFFSETS)
MERGED_WORDS = (
    "Ġthe", "Ġaudio", "Ġtext", "Ġimage", "Ġinto", "What", "Ġis", "Transcribe", "Ġclip", "Ġkitchen", "Ġlamp", "turn",
    "Ġon", "Ġoff", "ing",
)  # fmt: skip


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
    write_tokenizer_settings(folder)
