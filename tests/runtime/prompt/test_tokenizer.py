"""Text must survive the way to ids and back, and must never turn into control tokens."""

from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Reference

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.prompt.tokenizer import Tokenizer
from support.vocabulary import SPECIAL_TOKENS, build_tokenizer, special_id

TEXTS = [
    "Hello there",
    "  spaces  ",
    "\n\nlines\n",
    "naïve café ‖ 你好 🙂🏳️‍🌈",
    "Transcribe the audio clip",
    "e\u0301\u00a0x",
    "",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(build_tokenizer().to_str(), "tokenizer.json")


def _with_strip(content: str, **flags: bool) -> Tokenizer:
    raw = json.loads(build_tokenizer().to_str())
    for token in raw["added_tokens"]:
        if token["content"] == content:
            token.update(flags)
    return Tokenizer(json.dumps(raw), "tokenizer.json")


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_unchanged(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode_text(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_the_full_tokenizers_on_ordinary_text(tokenizer: Tokenizer, text: str):
    assert tokenizer.encode_text(text) == build_tokenizer().encode(text).ids


@pytest.mark.parametrize("spelling", SPECIAL_TOKENS)
def test_a_control_token_written_in_text_stays_text(tokenizer: Tokenizer, spelling: str):
    ids = tokenizer.encode_text(f"say {spelling} now")
    assert not any(tokenizer.is_control(token_id) for token_id in ids)
    assert tokenizer.decode(ids) == f"say {spelling} now"


def test_a_control_token_listed_as_a_word_stays_out_of_text_too():
    # Tokenizers trained with special tokens hold them in the vocabulary, where whole-word matching would find them.
    raw = json.loads(build_tokenizer().to_str())
    raw["model"]["vocab"]["<|end|>"] = special_id("<|end|>")
    raw["model"]["ignore_merges"] = True
    raw["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = Tokenizer(json.dumps(raw), "x")
    assert special_id("<|end|>") not in tokenizer.encode_text("<|end|>")
    assert tokenizer.decode([special_id("<|end|>")]) == ""


def test_control_tokens_and_text_keep_their_order(tokenizer: Tokenizer):
    user, end = tokenizer.control["<|user|>"], tokenizer.control["<|end|>"]
    assert tokenizer.encode([user, "hi", end]) == build_tokenizer().encode("<|user|>hi<|end|>").ids
    assert tokenizer.split("a<|user|>b") == ["a", user, "b"]


def test_neighbouring_strings_are_encoded_as_one_run(tokenizer: Tokenizer):
    # A template may put its own words beside the user's; merges reach across the border as in the reference.
    assert tokenizer.encode(["Trans", "cribe"]) == tokenizer.encode_text("Transcribe")


def test_the_longest_control_token_wins(tokenizer: Tokenizer):
    assert tokenizer.split("<|endoftext10|>") == [tokenizer.control["<|endoftext10|>"]]
    whole = build_tokenizer()
    whole.add_special_tokens([AddedToken(spelling, special=True, normalized=False) for spelling in ("STOP", "STOPS")])
    ends = {whole.token_to_id(spelling) for spelling in ("STOP", "STOPS")}
    spelled = Tokenizer(whole.to_str(), "x", control_ids=ends)
    assert spelled.split("STOPS") == [spelled.control["STOPS"]]


@pytest.mark.parametrize(
    ("flags", "text"), [({"rstrip": True}, "<|end|>  \n hi"), ({"lstrip": True}, "hi \t <|end|>x"), ({}, " <|end|> ")]
)
def test_white_space_that_a_control_token_claims_is_dropped_as_in_the_reference(flags: dict[str, bool], text: str):
    raw = json.loads(build_tokenizer().to_str())
    for token in raw["added_tokens"]:
        if token["content"] == "<|end|>":
            token.update(flags)
    ours = _with_strip("<|end|>", **flags)
    assert ours.encode(ours.split(text)) == Reference.from_str(json.dumps(raw)).encode(text).ids


def test_invalid_unicode_is_refused(tokenizer: Tokenizer):
    with pytest.raises(ConfigError, match=r"not valid Unicode.*character 3"):
        tokenizer.encode_text("abc\udc80")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": {"type": "no"}}'])
def test_a_damaged_file_is_named(text: str):
    with pytest.raises(ArtifactError, match=r"^some/tokenizer.json: not"):
        Tokenizer(text, "some/tokenizer.json")


def test_the_bytes_of_tokens_joined_are_the_text(tokenizer: Tokenizer):
    """Constrained output and streaming both work on them."""
    for text in TEXTS:
        ids = tokenizer.encode_text(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert [tokenizer.token_bytes(i) for i in (special_id("<|end|>"), 399, 10**6)] == [b""] * 3


def test_a_tokenizer_of_another_kind_is_refused():
    """Its tokens are no bytes: text would come out garbled."""
    raw = json.loads(build_tokenizer().to_str())
    raw["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    with pytest.raises(ArtifactError, match=r"t.json: not a byte-level tokenizer"):
        Tokenizer(json.dumps(raw), "t.json")


def test_a_number_too_long_to_read_is_an_artifact_error():
    with pytest.raises(ArtifactError, match=r"tokenizer.json: not a usable tokenizer"):
        Tokenizer('{"model": ' + "9" * 5000 + "}", "tokenizer.json")
