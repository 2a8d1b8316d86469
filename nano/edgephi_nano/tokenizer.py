"""The demo model's tokenizer: byte-level, 768 entries, Phi-4's special tokens and chat template.

Every known lower-case word is
one token, with and without a leading space; digits and upper-case letters always stand alone.

    ids 0..255 bytes | 256.. words and JSON pieces | ..755 filler | 756..767 special tokens
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from edgephi_nano.vocabulary import WORDS, words

VOCAB_SIZE = 768

END_OF_TEXT, IMAGE_SLOT, AUDIO_SLOT = "<|endoftext|>", "<|endoftext10|>", "<|endoftext11|>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
TOOL, TOOL_STOP, CALL, CALL_STOP, TOOL_RESPONSE = (
    "<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>",
)  # fmt: skip
SPECIAL_TOKENS = (
    END_OF_TEXT, IMAGE_SLOT, AUDIO_SLOT, ASSISTANT, END, USER, SYSTEM, TOOL, TOOL_STOP, CALL, CALL_STOP, TOOL_RESPONSE,
)  # fmt: skip

PROMPT_WORDS = words(
    "repeat write spell last first words word digits letters list from back order reverse plus minus times equals text "
    "clip audio into home assistant are bars says shows remember then name arguments parameters string integer "
    "device room value brightness temperature count how many you it there of with item after before"
)
"""Words of written prompts that are never spoken."""

CAPITALIZED_TAILS = words("hat hich ranscribe ou he epeat rite emember pell ow ount")
"""What follows a sentence's capital letter ("W" + "hat")."""

JSON_PIECES = (
    '{"', '": "', '", "', '": {"', '"}}', '"}}]', '"}}, {"', '[{"', '":', '}}', '}}]', '}}, {"', ', "', '"}', '": {}}',
    '": {}}]', '": {}}, {"', " +", " -", " =",
)  # fmt: skip

PIECE_PATTERN = (
    r" ?\p{Ll}+"  # a lower-case word with its space
    r"|\p{Lu}|\p{N}"  # capitals and digits one by one
    r"|[^\s\p{L}\p{N}]+(?: [^\s\p{L}\p{N}]+)?"  # punctuation, across one space: `": "`
    r"| [^\s\p{L}\p{N}]+|\p{L}|\s"
)

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not "
    "none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + "
    "'<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def special_id(token: str) -> int:
    """Id of one of SPECIAL_TOKENS: they fill the top of the vocabulary."""
    return VOCAB_SIZE - len(SPECIAL_TOKENS) + SPECIAL_TOKENS.index(token)


def _byte_characters() -> list[str]:
    """The printable stand-in of each byte 0..255, as byte-level BPE has used them since GPT-2."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(shifted)) for b in range(256)]


def _pieces() -> list[str]:
    """Whole-piece entries in id order, in plain text, each once."""
    spoken = [form for word in WORDS for form in (word, " " + word)]
    written = [form for word in PROMPT_WORDS for form in (word, " " + word)]
    pieces = dict.fromkeys([*spoken, *written, *CAPITALIZED_TAILS, *JSON_PIECES])
    return [piece for piece in pieces if len(piece) > 1]


def build_tokenizer() -> Tokenizer:
    """A new tokenizer. Pieces outside the vocabulary fall back to bytes, so any text can be encoded."""
    characters = _byte_characters()
    entries = list(characters)
    entries += ["".join(characters[b] for b in piece.encode("utf-8")) for piece in _pieces()]
    filler = VOCAB_SIZE - len(SPECIAL_TOKENS) - len(entries)
    if filler < 0:
        raise ValueError(f"the vocabulary holds {-filler} pieces too many for {VOCAB_SIZE} ids")
    entries += [f"<|dummy_{i}|>" for i in range(filler)]
    vocab = {entry: i for i, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into an existing `folder`."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
