"""A reply must stop where the model was taught to stop, whichever of the checkpoint's files still says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import AddedToken, Tokenizer

from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.cli.inspect import inspect
from edgephi.cli.verify import verify
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.selection import choose
from edgephi_export.commands import export as cli
from support.bundles import copy_bundle, small_bundle, small_checkpoint
from support.checkpoints import Layout
from support.tensor_files import change_json
from support.vocabulary import special_id

END, TEXT = special_id("<|end|>"), special_id("<|endoftext|>")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}"
)
BARE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
Change = Callable[[Path], object]


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))


def _ends(folder: Path) -> dict[int, tuple[str, ...]]:
    tokens = open_checkpoint(folder, choose("none", ("text",), ("text",))).config.tokens
    assert tokens.eos == tuple(end.id for end in tokens.ends)
    return {end.id: end.named_by for end in tokens.ends}


def _generation(**values: object) -> Change:
    return lambda folder: change_json(folder / "generation_config.json", lambda c: c.update(values))


def _no_generation(folder: Path) -> None:
    (folder / "generation_config.json").unlink()


def _config(ids: object) -> Change:
    return lambda folder: change_json(folder / "config.json", lambda c: c.update(eos_token_id=ids))


@pytest.mark.parametrize("layout", ["phi3", "native", "original"])
@pytest.mark.parametrize(
    "change",
    [
        _generation(eos_token_id=TEXT),
        _generation(eos_token_id=None),
        _generation(eos_token_id=[]),
        _no_generation,
        lambda folder: (_no_generation(folder), _config([TEXT, END])(folder)),
        lambda folder: (_generation(eos_token_id=None)(folder), _config(None)(folder)),
        lambda folder: (_no_generation(folder), _config(END)(folder)),
    ],
    ids=["one", "null", "empty", "no file", "config only", "neither", "config names the other"],
)
def test_a_file_that_names_too_few_ends_does_not_make_replies_run_on(tmp_path: Path, layout: Layout, change: Change):
    folder = _copy(layout, tmp_path)
    change(folder)
    assert set(_ends(folder)) == {END, TEXT}


def test_each_end_says_who_names_it(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    assert _ends(folder) == {
        END: ("generation_config.json", "chat template"),
        TEXT: ("generation_config.json", "config.json", "eos_token"),
    }


@pytest.mark.parametrize("spelled", ["text", "object", "map"])
def test_the_tokenizers_own_end_counts(tmp_path: Path, spelled: str):
    folder = _copy("phi3", tmp_path)
    value = {"content": "<|tag|>", "lstrip": False} if spelled == "object" else "<|tag|>"
    if spelled == "map":
        change_json(folder / "tokenizer_config.json", lambda c: c.pop("eos_token"))
        (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": value}))
    else:
        change_json(folder / "tokenizer_config.json", lambda c: c.update(eos_token=value))
    assert _ends(folder)[special_id("<|tag|>")] == ("eos_token",)


def test_the_turn_end_of_another_template_counts(tmp_path: Path):
    """As of a model that was fine-tuned on ChatML, whose files still name what the base ended with."""
    folder = _copy("phi3", tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=CHATML))
    assert _ends(folder)[tokenizer.token_to_id("<|im_end|>")] == ("chat template",)


def test_the_longer_of_two_ends_that_begin_alike_counts(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<|im_start|>", "<|im_end", "<|im_end|>")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=CHATML))
    assert tokenizer.token_to_id("<|im_end|>") in _ends(folder)
    assert tokenizer.token_to_id("<|im_end") not in _ends(folder)


def test_a_template_without_turn_ends_adds_none(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=BARE))
    assert _ends(folder) == {END: ("generation_config.json",), TEXT: _ends(folder)[TEXT]}


def test_export_and_inspect_say_which_ends_were_found(tmp_path: Path):
    done = CliRunner().invoke(cli.export, [str(small_checkpoint("phi3").path), "-o", str(tmp_path / "out")])
    assert "; replies end at <|end|>, <|endoftext|>; " in done.stdout
    shown = CliRunner().invoke(inspect, [str(tmp_path / "out")]).stdout
    assert "ends at   <|end|>: generation_config.json, chat template\n          <|endoftext|>: generation" in shown
    facts = json.loads(CliRunner().invoke(inspect, [str(tmp_path / "out"), "--json"]).stdout)
    assert [end["id"] for end in facts["ends"]] == [END, TEXT]


def test_a_folder_of_an_earlier_version_loads_and_is_still_the_same_model(tmp_path: Path):
    """It has no `ends`, `min_p`, `repetition_penalty`, `not_applied`, `merged_adapter` or `checksum`."""
    folder = copy_bundle(small_bundle("phi3"), tmp_path / "old")

    def strip(manifest: dict[str, dict[str, object]]) -> None:
        manifest.pop("checksum")
        manifest["tokens"].pop("ends")
        manifest["source"].pop("merged_adapter")
        for key in ("min_p", "repetition_penalty", "not_applied"):
            manifest["generation"].pop(key)

    change_json(folder / MANIFEST_NAME, strip)
    assert Bundle(folder).manifest.tokens.eos == (END, TEXT)
    done = CliRunner().invoke(verify, [str(folder), "--reference", str(small_checkpoint("phi3").path)])
    assert done.exit_code == 0, done.output
    assert f"ends at   token {END}\n          token {TEXT}" in CliRunner().invoke(inspect, [str(folder)]).stdout


def test_a_folder_without_a_generation_config_is_greedy(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    _no_generation(folder)
    advice = Bundle(export(folder, tmp_path / "out", ExportOptions(recipe="fp32"))).manifest.generation
    assert advice == Bundle(small_bundle("phi3")).manifest.generation
