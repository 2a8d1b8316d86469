"""What a model's makers recommend for sampling must be followed, or be named as not followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgephi import SamplingOptions
from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import GenerationDefaults
from edgephi.cli.inspect import inspect
from edgephi_export.checkpoint.generation_config import read_generation
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.commands import export as cli
from support.bundles import small_checkpoint


def _read(tmp_path: Path, **values: Any) -> GenerationDefaults:
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    return read_generation(tmp_path, Fields({}, "config.json"))


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        ({}, {}),
        ({"do_sample": None}, {}),
        ({"do_sample": False, "temperature": 0.6, "top_k": 20}, {}),
        ({"do_sample": True}, {"temperature": 1.0, "top_k": 50}),
        ({"do_sample": True, "temperature": None, "top_p": None, "top_k": None}, {"temperature": 1.0, "top_k": 50}),
        (
            {"do_sample": True, "top_k": None, "transformers_version": "4.57.6"},
            {"temperature": 1.0, "top_k": 0},
        ),
        ({"do_sample": True, "top_k": None, "transformers_version": "5.24.0"}, {"temperature": 1.0, "top_k": 50}),
        ({"do_sample": True, "top_k": 0}, {"temperature": 1.0, "top_k": 0}),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.05},
            {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.05},
        ),
        ({"do_sample": True, "temperature": 0.6, "repetition_penalty": 1.3, "min_p": 0.1},
         {"temperature": 0.6, "top_k": 50, "repetition_penalty": 1.3, "min_p": 0.1}),
        ({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ({"do_sample": True, "min_p": None, "repetition_penalty": None}, {"temperature": 1.0, "top_k": 50}),
    ],
)  # fmt: skip
def test_recommendations_are_kept_with_transformers_own_defaults(
    tmp_path: Path, stated: dict[str, Any], wanted: dict[str, Any]
):
    assert _read(tmp_path, **stated) == GenerationDefaults(**wanted)


def test_config_json_recommends_where_the_other_file_is_missing(tmp_path: Path):
    """As releases before generation_config.json wrote it, and as transformers still reads it."""
    config = Fields({"do_sample": True, "temperature": 0.3, "top_k": 7}, "config.json")
    assert read_generation(tmp_path, config) == GenerationDefaults(temperature=0.3, top_k=7)
    assert _read(tmp_path) == read_generation(tmp_path, config) == GenerationDefaults()


def test_they_reach_a_request_that_says_nothing(tmp_path: Path):
    advice = _read(tmp_path, do_sample=True, temperature=0.6, repetition_penalty=1.3, min_p=0.1)
    chosen = SamplingOptions(top_p=0.5).filled(advice)
    assert (chosen.temperature, chosen.top_k, chosen.top_p) == (0.6, 50, 0.5)
    assert (chosen.min_p, chosen.repetition_penalty) == (0.1, 1.3)


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"no_repeat_ngram_size": 3}, ("no_repeat_ngram_size 3",)),
        ({"no_repeat_ngram_size": 0, "num_beams": 1, "typical_p": 1.0, "bad_words_ids": None, "min_length": 0}, ()),
        ({"do_sample": True, "typical_p": 0.9}, ("typical_p 0.9",)),
        ({"typical_p": 0.9}, ()),
        ({"num_beams": 4, "suppress_tokens": [1, 2]}, ("num_beams 4", "suppress_tokens [1, 2]")),
        ({"bad_words_ids": [[7]] * 99}, ("bad_words_ids " + json.dumps([[7]] * 99)[:60] + "...",)),
    ],
)
def test_what_edgephi_does_not_do_is_named(tmp_path: Path, stated: dict[str, Any], named: tuple[str, ...]):
    assert _read(tmp_path, **stated).not_applied == named


def test_export_and_inspect_name_it_too(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in small_checkpoint("phi3").path.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    values = {"do_sample": True, "temperature": 0.6, "repetition_penalty": 1.3, "no_repeat_ngram_size": 3}
    (folder / "generation_config.json").write_text(json.dumps(values))
    done = CliRunner().invoke(cli.export, [str(folder), "-o", str(tmp_path / "out")])
    assert (
        "note: generation_config.json also recommends what edgephi does not do: no_repeat_ngram_size 3" in done.stderr
    )
    shown = CliRunner().invoke(inspect, [str(tmp_path / "out")]).stdout
    assert (
        "advice    temperature 0.6, top_k 50, repetition_penalty 1.3\n          not done: no_repeat_ngram_size 3\n"
        in shown
    )


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"do_sample": True, "min_p": 2}, r"generation_config\.json: min_p is 2\.0; it must be from 0 to 1"),
        ({"repetition_penalty": 0}, r"repetition_penalty is 0\.0; it must be from 0\.01 to 100"),
        ({"do_sample": "yes"}, r"do_sample is 'yes'; expected bool"),
        ({"do_sample": True, "top_k": 2.5}, r"top_k is 2\.5; expected int"),
    ],
)
def test_a_recommendation_that_cannot_be_is_refused(tmp_path: Path, stated: dict[str, Any], message: str):
    with pytest.raises(ArtifactError, match=message):
        _read(tmp_path, **stated)
