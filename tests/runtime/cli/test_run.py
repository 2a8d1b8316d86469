"""`edgephi run`: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, ModelOptions, SamplingOptions
from edgephi.base.errors import ConfigError
from edgephi.generation.reply import Choice
from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke, spawn

FEW = SamplingOptions(max_new_tokens=6)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(small_bundle(), threads=1)


def _json(*arguments: object) -> dict[str, Any]:
    done = invoke("run", small_bundle(), *arguments, "--max-new-tokens", 6, "--threads", 1, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    reply: dict[str, Any] = json.loads(done.stdout)
    return reply


def test_the_text_streams_to_stdout_and_the_timing_to_stderr(model: Model):
    done = spawn("run", small_bundle(), "hello", "--max-new-tokens", 6)
    reply = model.generate("hello", options=FEW)
    assert done.returncode == 0
    assert done.stdout == reply.text + "\n"
    assert "first token" in done.stderr
    assert ("reply was cut" in done.stderr) == (reply.finish_reason == "length")


def test_json_is_the_only_thing_on_stdout(model: Model):
    reply = _json("hello")
    assert tuple(reply["token_ids"]) == model.generate("hello", options=FEW).token_ids
    assert reply["timing"]["new_tokens"] == len(reply["token_ids"])
    assert {"ttft_s", "decode_tok_s", "prefill_s", "encode_s"} <= set(reply["timing"])


def test_media_and_the_system_turn_reach_the_model(model: Model, tmp_path: Path):
    image, recording = write_image(tmp_path / "a.png"), write_recording(tmp_path / "a.wav")
    reply = _json("what", "--image", image, "--audio", recording, "--system", "Be brief.")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "what"}]
    expected = model.generate(messages, images=[image], audio=[recording], options=FEW)
    assert tuple(reply["token_ids"]) == expected.token_ids


def test_media_alone_are_a_request_and_tags_place_them(tmp_path: Path):
    first, second = write_image(tmp_path / "1.png"), write_image(tmp_path / "2.png", 60, 90)
    media = ("--image", first, "--image", second)
    assert _json(*media)["token_ids"]
    one = _json("<|image_1|>and<|image_2|>", *media)["timing"]["prompt_tokens"]
    assert one == _json("and", *media)["timing"]["prompt_tokens"]


def test_media_may_be_data_addresses(tmp_path: Path):
    image, recording = write_image(tmp_path / "a.png"), write_recording(tmp_path / "a.wav")
    given = [f"data:;base64,{base64.b64encode(Path(path).read_bytes()).decode()}" for path in (image, recording)]
    limit, model = ("--max-new-tokens", 2), small_bundle()
    by_address = invoke("run", model, "x", "--image", given[0], "--audio", given[1], *limit)
    assert by_address.exit_code == 0, by_address.stderr
    assert by_address.stdout == invoke("run", model, "x", "--image", image, "--audio", recording, *limit).stdout


def test_the_prompt_can_come_from_stdin(model: Model):
    done = invoke("run", small_bundle(), "-", "--max-new-tokens", 6, stdin="hello\n")
    assert done.stdout == model.generate("hello", options=FEW).text + "\n"


@pytest.mark.parametrize(
    ("redirect", "words"), [("printf '\\377' |", "not UTF-8 at byte 0"), ("<&-", "stdin is closed")]
)
def test_a_stdin_that_is_no_text_is_refused(redirect: str, words: str):
    run = f"{sys.executable} -m edgephi run {small_bundle()} -"
    line = f"{redirect} {run}" if redirect.endswith("|") else f"{run} {redirect}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_sampling_options_are_used():
    def drawn(seed: int) -> list[int]:
        return list(_json("hello", "--temperature", 3, "--top-k", 100, "--top-p", 0.9, "--seed", seed)["token_ids"])

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_stop_string_ends_the_text():
    reply = _json("hello", "--regex", "abcdef", "--stop", "x", "--stop", "de")
    assert (reply["text"], reply["finish_reason"]) == ("abc", "stop")


def test_bias_and_penalties_are_used():
    first = _json("hello")["token_ids"][0]
    assert _json("hello", "--logit-bias", f"{first}=-100")["token_ids"][0] != first
    assert _json("hello", "--logit-bias", "7=100")["token_ids"] == [7] * 6
    varied = _json("hello", "--logit-bias", "7=20", "--repetition-penalty", "100")["token_ids"]
    assert varied[0] == 7 != varied[1]


def test_log_probabilities_are_in_the_json(model: Model):
    reply = _json("hello", "--logprobs", 3)
    expected = model.generate("hello", options=SamplingOptions(max_new_tokens=6, logprobs=3)).logprobs
    assert [entry["token_id"] for entry in reply["logprobs"]] == reply["token_ids"]
    assert [entry["logprob"] for entry in reply["logprobs"]] == pytest.approx(
        [choice.logprob for choice in expected], abs=1e-4
    )
    assert [len(entry["top"]) for entry in reply["logprobs"]] == [3] * len(expected)
    assert "logprobs" not in _json("hello")
    assert "--json" in invoke("run", small_bundle(), "hello", "--logprobs", 3).stderr


def test_a_schema_an_expression_or_a_grammar_shapes_the_reply(tmp_path: Path):
    schema, grammar = tmp_path / "s.json", tmp_path / "g.lark"
    schema.write_text('{"enum": ["\u00e9"]}', encoding="utf-8")
    grammar.write_text('start: "ab"\n', encoding="utf-8")
    for option, value, text in (
        ("--json-schema", schema, '"é"'),
        ("--json-schema", '{"enum": ["é"]}', '"é"'),
        ("--regex", "yes", "yes"),
        ("--grammar", grammar, "ab"),
    ):
        reply = _json("hello", option, value)
        assert (reply["text"], reply["finish_reason"]) == (text, "stop")


def test_a_constraint_that_was_cut_short_is_never_called_met():
    done = invoke("run", small_bundle(), "hello", "--regex", "[ab]{20}", "--max-new-tokens", 3)
    assert done.exit_code == 0
    assert "the reply was cut, so the regular expression may not be met; raise --max-new-tokens" in done.stderr


def test_a_cached_prompt_gives_the_same_reply(tmp_path: Path):
    kept = tmp_path / "prompt.cache"
    plain = _json("hello", "--system", "Be brief.")["token_ids"]
    assert _json("hello", "--system", "Be brief.", "--cache-prompt", kept)["token_ids"] == plain
    written = kept.read_bytes()
    assert _json("hello", "--system", "Be brief.", "--cache-prompt", kept)["token_ids"] == plain
    assert (
        _json("else", "--system", "Be brief.", "--cache-prompt", kept)["token_ids"]
        == _json("else", "--system", "Be brief.")["token_ids"]
    )
    assert kept.read_bytes() == written


def test_a_damaged_cached_prompt_is_refused(tmp_path: Path):
    kept = tmp_path / "prompt.cache"
    kept.write_bytes(b"no cache")
    done = invoke("run", small_bundle(), "hello", "--cache-prompt", kept)
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert str(kept) in done.stderr


def test_an_adapter_can_be_forced(model: Model, tmp_path: Path):
    recording = write_recording(tmp_path / "a.wav")
    expected = model.generate("what", audio=[recording], options=FEW, adapter="none")
    assert tuple(_json("what", "--audio", recording, "--adapter", "none")["token_ids"]) == expected.token_ids


def test_nothing_to_answer_is_a_usage_error():
    done = invoke("run", small_bundle())
    assert done.exit_code == 2
    assert "give a PROMPT, an --image or an --audio" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["x", "--image", "no.png"], 2, "error: no.png: no such file"),
        (["<|image_1|>"], 2, "error: the messages have places for 1 images but 0 were given"),
        (["x", "--top-p", "1", "--temperature", "nan"], 2, "error: temperature is nan"),
        (
            ["a" * 140_000],
            4,
            "error: the input needs 140,003 tokens but the context holds 131,072; shorten it by 8,931",
        ),
    ],
)
def test_a_bad_request_is_one_line_and_its_exit_code(arguments: list[str], code: int, line: str):
    done = invoke("run", small_bundle(), *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--image", "no.png"], "no.png: no such file"),
        (["--audio", ""], "the path of the audio is empty"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--top-k", "-1"], "top_k is -1"),
        (["--top-p", "1.5"], "top_p is 1.5"),
        (["--min-p", "-0.1"], "min_p is -0.1"),
        (["--seed", "-1"], "seed is -1"),
        (["--repetition-penalty", "0"], "repetition_penalty is 0"),
        (["--presence-penalty", "3"], "presence_penalty is 3"),
        (["--frequency-penalty", "-3"], "frequency_penalty is -3"),
        (["--logit-bias", "5"], "--logit-bias is '5'; give a token's id and a number, such as 1234=-100"),
        (["--logit-bias", "5=101"], "logit_bias has 5: 101"),
        (["--logprobs", "-1", "--json"], "logprobs is -1"),
        (["--max-crops", "0"], "max_crops is 0"),
        (["--max-context", "0"], "max_context is 0; use 1 or more"),
        (["--chunk", "-3"], "chunk is -3; use 1 or more"),
        (
            ["--cache-bytes", "12 parsecs"],
            "--cache-bytes is '12 parsecs'; give bytes, or a number with a unit, such as",
        ),
        (["--stop", ""], "stop has ''"),
        (["--regex", "a("], "the regular expression cannot be used: unclosed group"),
        (["--json-schema", '{"type": "nope"}'], "the JSON schema cannot be used: Invalid type: nope"),
        (["--json-schema", "{"], "the JSON schema is not valid JSON"),
        (["--json-schema", "no/such.json"], "--json-schema no/such.json: cannot be read (No such file or directory)"),
        (["--grammar", "no/such.lark"], "--grammar no/such.lark: cannot be read"),
        (["--regex", "a", "--json-schema", "{}"], "--json-schema and --regex were given; a reply can follow one"),
    ],
)
def test_what_can_be_seen_at_once_is_refused_before_the_model_is_loaded(arguments: list[str], line: str):
    done = invoke("run", "no/such/model", "x", *arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert line in done.stderr


def test_the_models_limits_can_be_set(monkeypatch: pytest.MonkeyPatch):
    done = invoke("run", small_bundle(), "a" * 100, "--max-context", 50)
    assert done.exit_code == 4
    assert "but the context holds 50" in done.stderr
    given: list[ModelOptions] = []

    def load(_: object, options: ModelOptions, **__: object) -> Model:
        given.append(options)
        raise ConfigError("enough")

    monkeypatch.setattr(Model, "load", load)
    for command in (["run", "m", "x"], ["chat", "m"], ["transcribe", "m", "a.wav"]):
        invoke(*command, "--chunk", 64, "--cache-bytes", "1.5GiB")
        assert (given[-1].chunk, given[-1].cache_bytes) == (64, 3 << 29)
        invoke(*command)
        assert replace(given[-1], with_adapters=False) == ModelOptions()


def test_a_reply_cut_by_the_context_says_so(monkeypatch: pytest.MonkeyPatch):
    load = Model.load
    monkeypatch.setattr(Model, "load", lambda path, *_, **__: load(path, max_context=8))
    monkeypatch.setattr("edgephi.generation.sampler.Sampler.choose", lambda *_: Choice(5))
    assert "the model's context is full" in invoke("run", small_bundle(), "hi", "--max-new-tokens", 50).stderr
    assert "raise --max-new-tokens" in invoke("run", small_bundle(), "hi", "--max-new-tokens", 1).stderr


def test_bytes_that_are_no_text_are_refused():
    done = invoke("run", small_bundle(), "bad \udcff")
    assert done.exit_code == 2
    assert "not valid Unicode" in done.stderr


def test_a_prompt_cache_that_cannot_be_written_is_found_before_the_model_is_loaded(tmp_path: Path):
    for name, words in (("gone/x", "its folder does not exist"), ("n" * 300, "File name too long")):
        done = invoke("run", "no-such-model", "hi", "--cache-prompt", tmp_path / name)
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr
