"""Comparisons of small random models: one is its own equal, fewer bits are further away, and finished work is kept."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from edgephi import ArtifactError, ConfigError
from edgephi.base.step import Step
from edgephi.bundle.bundle import MANIFEST_NAME, TOKENIZER_NAME, Bundle
from edgephi_export.calibration.examples import EXAMPLES_NAME
from edgephi_export.fidelity.comparing import compare_fidelity
from edgephi_export.fidelity.options import FidelityOptions
from edgephi_export.fidelity.recording import record_fidelity
from edgephi_export.fidelity.report import FidelityReport, ModelFidelity
from edgephi_export.provenance import describe
from support.bundles import copy_bundle, small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke

SETTINGS = ("--max-new-tokens", "6", "--threads", "1")


def _silent(_: Step) -> None:
    pass


class Work:
    """Examples, and the folder of finished work that the tests of this file share."""

    def __init__(self, folder: Path) -> None:
        self.examples, self.done = folder / "examples", folder / "done"
        self.examples.mkdir()
        write_image(self.examples / "a.png")
        write_recording(self.examples / "b.wav")
        lines = (
            {"messages": "Hello", "answer": "one two", "measure": "exact"},
            {"messages": "Again"},
            {"messages": "Say", "audio": ["b.wav"], "answer": "three four", "measure": "wer", "set": "far <away>"},
            {"messages": "Read", "images": ["a.png"], "answer": "five"},
        )
        (self.examples / EXAMPLES_NAME).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    def compare(self, *models: Path, on_step=_silent, reference: Path | None = None) -> FidelityReport:
        options = FidelityOptions(
            models=models,
            reference=reference or small_bundle(),
            examples=self.examples,
            max_new_tokens=6,
            threads=1,
            work_dir=self.done,
            command=("edgephi", "fidelity"),
        )
        return compare_fidelity(options, on_step)

    def arguments(self, *models: Path) -> list[str]:
        """Of the command that goes on from the finished work."""
        paths = [*map(str, models), "--reference", str(small_bundle())]
        return ["fidelity", *paths, "--examples", str(self.examples), "--work", str(self.done), *SETTINGS]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return Work(tmp_path_factory.mktemp("fidelity"))


@pytest.fixture(scope="module")
def models(work: Work) -> dict[str, ModelFidelity]:
    same, fewer = work.compare(small_bundle(), small_bundle(recipe="int4")).models
    return {"same": same, "fewer": fewer}


def test_a_model_beside_itself_differs_in_nothing(models: dict[str, ModelFidelity]):
    same = models["same"]
    assert [one.mode for one in same.modes] == ["text", "speech", "vision"]
    for one in same.modes:
        assert one.forced.kl_max < 1e-9
        assert one.forced.top1.value == one.free.exact_match.value == one.free.common_prefix.value == 1
        assert one.forced.perplexity_ratio.value == pytest.approx(1, abs=1e-6)
        assert one.noise.kl_max < 1e-6
    assert [(one.group, one.increase.value) for one in same.tasks] == [("text", 0), ("far <away>", 0)]


def test_fewer_bits_are_further_away_than_noise(models: dict[str, ModelFidelity]):
    for one in models["fewer"].modes:
        assert one.forced.kl.value > max(100 * one.noise.kl, 1e-9)
        assert one.forced.kl_median <= one.forced.kl_p95 <= one.forced.kl_p99 <= one.forced.kl_p999 <= one.forced.kl_max
        assert one.forced.perplexity / one.forced.reference_perplexity == pytest.approx(
            one.forced.perplexity_ratio.value
        )
    sets = {one.group: one.kl.value for one in models["fewer"].tasks}
    assert sets["far <away>"] == models["fewer"].modes[1].forced.kl.value  # the only speech there is
    assert 0 < sets["text"] != models["fewer"].modes[0].forced.kl.value
    assert models["fewer"].folder.bits_per_weight < models["same"].folder.bits_per_weight / 2


def test_an_interrupted_comparison_goes_on_where_it_stopped(work: Work, models: dict[str, ModelFidelity]):
    model, earlier = small_bundle(recipe="int8"), set(work.done.rglob("*.json"))

    def interrupt(step: Step) -> None:
        if (step.label, step.done) == (f"comparing {model.name}", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.compare(model, on_step=interrupt)
    finished = {path: path.stat().st_mtime_ns for path in work.done.rglob("*.json") if path not in earlier}
    assert len(finished) == 2
    resumed = work.compare(model).models
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    shutil.rmtree(next(iter(finished)).parent)
    whole = work.compare(model).models  # no example depends on those before it
    assert [one.forced for one in whole[0].modes] == [one.forced for one in resumed[0].modes]
    assert whole[0].tasks == resumed[0].tasks


def test_examples_that_a_folder_does_not_serve_are_left_out(work: Work):
    text_only = small_bundle(adapters="none", modalities=("text",))
    report = work.compare(text_only)
    assert (report.examples.examples, report.examples.left_out) == (2, 2)
    assert [one.mode for one in report.models[0].modes] == ["text"]


def test_folders_of_another_tokenizer_are_refused(work: Work, tmp_path: Path):
    model = copy_bundle(small_bundle(), tmp_path / "model")
    tokenizer, manifest = model / TOKENIZER_NAME, Bundle(model).manifest
    tokenizer.write_bytes(tokenizer.read_bytes() + b"\n")
    files = tuple(describe(model, file.path) if file.path == TOKENIZER_NAME else file for file in manifest.files)
    (model / MANIFEST_NAME).write_text(dataclasses.replace(manifest, files=files).to_json(), encoding="utf-8")
    with pytest.raises(ConfigError, match="model: has another vocabulary or tokenizer than"):
        work.compare(model)


def test_a_requirement_that_is_missed_ends_with_exit_code_1(work: Work, models: dict[str, ModelFidelity]):
    arguments = work.arguments(small_bundle(recipe="int4"))
    done = invoke(*arguments, "--json", "--require", "text.kl<=0", "--require", "top1>=0%")
    assert done.exit_code == 1
    (model,) = json.loads(done.stdout)["models"]
    assert [words.partition(" is ")[0] for words in model["failed"]] == ["text kl"]
    assert done.stderr.splitlines()[-1].startswith(f"error: {small_bundle(recipe='int4')}: text kl is ")
    assert invoke(*arguments, "--require", "kl<=1000").exit_code == 0


def test_the_tables_and_the_page_show_the_figures_and_take_names_for_text(
    work: Work, models: dict[str, ModelFidelity], tmp_path: Path
):
    page, markdown = tmp_path / "page.html", tmp_path / "table.md"
    both = (small_bundle(), small_bundle(recipe="int4"))
    done = invoke(*work.arguments(*both), "--page", str(page), "--markdown", str(markdown))
    assert done.exit_code == 0, done.stderr
    assert all(title in done.stdout for title in ("Overview", "Teacher-forced", "Free-running", "Tasks"))
    html = page.read_text(encoding="utf-8")
    assert "far &lt;away&gt;" in html
    assert "far <away>" not in html
    assert re.search(r"(src|href)=|<script|url\(", html) is None
    assert html.count("<svg") == 3
    overview = markdown.read_text(encoding="utf-8").split("\n\n")[1].splitlines()
    assert len(overview) == 2 + 3  # the reference and two models
    assert len({line.count("|") for line in overview}) == 1


def test_recorded_figures_are_shown_by_inspect(work: Work, tmp_path: Path):
    model = copy_bundle(small_bundle(recipe="int4"), tmp_path / "model")
    before = (model / "edgephi.json").read_text(encoding="utf-8")
    assert '"fidelity"' not in before
    assert invoke(*work.arguments(model), "--record").exit_code == 0
    shown = json.loads(invoke("inspect", str(model), "--check-hashes", "--json").stdout)["fidelity"]
    assert [one["mode"] for one in shown["modes"]] == ["text", "speech", "vision"]
    assert shown["modes"][0]["kl"] > 0
    assert "text: KL " in invoke("inspect", str(model)).stdout
    assert invoke("run", str(model), "Hello", "--max-new-tokens", "2").exit_code == 0


def test_a_folder_that_changed_meanwhile_is_not_recorded(work: Work, tmp_path: Path):
    model = copy_bundle(small_bundle(recipe="int4"), tmp_path / "model")
    report = work.compare(model)
    record_fidelity(report)
    with pytest.raises(ArtifactError, match="changed while it was measured"):
        record_fidelity(report)
