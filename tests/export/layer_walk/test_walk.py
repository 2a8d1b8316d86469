"""A walk must compute what the decoder computes, solve what the device then reads, and survive being killed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ConfigError, Model, Request, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter
from edgephi_export import ExportOptions, export
from edgephi_export.calibration.embedding import embedded
from edgephi_export.calibration.examples import read_examples
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.selection import choose
from edgephi_export.fidelity.weights import compare_with_checkpoint
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_export.layer_walk.sequences import CalibrationSequence, chosen
from edgephi_export.layer_walk.walk import walk
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.progress import Meter
from edgephi_quantize.recipe import Recipe, make_recipe
from support.bundles import small_bundle, small_checkpoint
from support.examples import write_examples
from support.forked import run_forked

ALL = ("text", "speech", "vision")
CODES = ("layers.*=int4:32", "*.lora_?.*=int8:32")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("examples") / "all", *ALL)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """A routed folder whose codes, adapters and correction were all solved."""
    return _export(tmp_path_factory.mktemp("solved") / "m", examples, absorb=True, correct_rank=4)


def _export(out: Path, examples: Path, **options: Any) -> Path:
    chosen_options = {"method": "gptq", "overrides": CODES, "calibration": (examples,), "threads": 1, **options}
    layout = chosen_options.pop("layout", "native")
    return export(small_checkpoint(layout).path, out, ExportOptions(**chosen_options))


#: An export like that of `solved`, killed after the second layer is solved and before it is kept.
_KILLED = """
import os, signal, sys
from edgephi_export import ExportOptions, export
from edgephi_export.layer_walk.walk_files import WalkFiles

add = WalkFiles.add

def add_and_die(files, layer, *rest):
    if layer == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    add(files, layer, *rest)

WalkFiles.add = add_and_die
checkpoint, out, examples = sys.argv[1:]
overrides = ("layers.*=int4:32", "*.lora_?.*=int8:32")
export(checkpoint, out, ExportOptions(
    method="gptq", overrides=overrides, calibration=(examples,), threads=1, absorb=True, correct_rank=4))
"""


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "weights").iterdir())}


def _plan(recipe: Recipe, mode: str) -> WalkPlan:
    selection = choose(mode, None, ("text", "vision", "speech"))
    opened = open_checkpoint(small_checkpoint("native").path, selection)
    return WalkPlan(config=opened.config, source=opened.weights, mode=selection.mode, recipe=recipe, threads=2)


@pytest.mark.parametrize("mode", ["routed", "speech"])
def test_hidden_states_are_those_of_the_decoder(tmp_path: Path, examples: Path, mode: str):
    """With the checkpoint's own weights the last layer gives the decoder's logits, whichever adapter serves."""
    folder, plan = small_bundle("native", None if mode == "routed" else mode), _plan(make_recipe("fp32"), mode)
    sequences = tuple(embedded(folder, read_examples(examples), 1))
    assert {sequence.adapter for sequence in sequences} == (
        {"none", "speech", "vision"} if mode == "routed" else {mode}
    )
    with WalkFiles(tmp_path / "walk", "this one") as files:
        files.begin(sequences, plan.is_followed)
        walk(plan, files, Meter.silent())
        hidden = files.hidden()
    norm, table = (plan.source.read(f"{name}.weight") for name in ("norm", "embed_tokens"))
    with Model.load(folder, with_adapters=mode == "routed") as model:
        served = [one for one in read_examples(examples) if mode in ("routed", one.mode)]
        wanted = [model.logits(example.request, rows="all") for example in served]
    for rows, logits in zip(hidden, wanted, strict=True):
        normed = rows / np.sqrt((rows * rows).mean(-1, keepdims=True) + plan.config.decoder.rms_norm_eps) * norm
        # The answer comes after the prompt, whose logits it does not change.
        np.testing.assert_allclose((normed @ table.T)[: len(logits)], logits, atol=2e-3)


def test_the_folder_answers_as_its_tensors_say_and_passes_verify(solved: Path):
    report = compare_with_checkpoint(solved, str(small_checkpoint("native").path), lambda done, total: None)
    assert all(tensor.ok for tensor in report.tensors)
    compared = {tensor.name for tensor in report.tensors}
    held = {info.name for info in Bundle(solved).tensor_index().tensors}
    anew = held - compared
    assert {name.rpartition(".")[2] for name in anew} == {"speech", "vision", "text"}
    assert all(".lora_" in name for name in anew)
    with Model.load(solved) as model:
        assert model.manifest.recipe.absorbed
        assert model.manifest.recipe.correction_rank == 4
        text = model.logits(Request("Say text 0."))
    assert np.isfinite(text).all()


def _divergence(folder: Path, examples: Path) -> dict[str, float]:
    """Mean square distance of the logits from those of the float folder, by mode."""
    found: dict[str, list[float]] = {}
    with (
        Model.load(small_bundle("native"), with_adapters=True) as exact,
        Model.load(folder, with_adapters=True) as model,
    ):
        for example in read_examples(examples):
            wanted, got = (one.logits(example.request, rows="all") for one in (exact, model))
            found.setdefault(example.mode, []).append(float(((wanted - got) ** 2).mean() / (wanted**2).mean()))
    return {mode: float(np.mean(values)) for mode, values in found.items()}


def test_each_step_brings_the_logits_closer_on_what_it_was_solved_on(tmp_path: Path, examples: Path, solved: Path):
    coarse = ("layers.*=int2:32", CODES[1])
    rounded = export(small_checkpoint("native").path, tmp_path / "rtn", ExportOptions(method="rtn", overrides=coarse))
    spread = _export(tmp_path / "gptq", examples, overrides=coarse, absorb=False)
    absorbed = _export(tmp_path / "absorbed", examples, overrides=coarse, absorb=True, correct_rank=6)
    before, after, last = (_divergence(folder, examples) for folder in (rounded, spread, absorbed))
    for mode in ("text", "speech", "vision"):
        assert last[mode] < after[mode] < before[mode]


def test_what_is_solved_anew_mends_the_layers_before_it_as_well(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
):
    options: dict[str, Any] = {"overrides": ("layers.*=int2:32", CODES[1]), "absorb": True, "correct_rank": 6}
    followed = _divergence(_export(tmp_path / "followed", examples, **options), examples)
    monkeypatch.setattr(WalkPlan, "is_followed", lambda plan, adapter: False)
    alone = _divergence(_export(tmp_path / "alone", examples, **options), examples)
    for mode in ("text", "speech", "vision"):
        assert followed[mode] < 0.9 * alone[mode]


@pytest.mark.parametrize(
    ("mode", "recipe", "followed"),
    [
        ("routed", {"absorbed": True}, {"speech", "vision"}),
        ("routed", {"correction_rank": 4}, {"none"}),
        ("routed", {}, set()),
        ("speech", {"correction_rank": 4}, {"speech"}),
        ("none", {"absorbed": True}, set()),
    ],
)
def test_only_requests_for_which_something_is_solved_are_followed(
    mode: str, recipe: dict[str, Any], followed: set[Adapter]
):
    """The others would cost time and half a gigabyte of disk for nothing."""
    plan = _plan(replace(make_recipe("int4"), **recipe), mode)
    kinds: tuple[Adapter, ...] = ("none", "speech", "vision") if mode == "routed" else (plan.mode,)
    assert {kind for kind in kinds if plan.is_followed(kind)} == followed


def test_with_examples_codes_are_chosen_by_gptq_unless_asked_otherwise(tmp_path: Path, examples: Path, solved: Path):
    plain = _export(tmp_path / "plain", examples, absorb=True, correct_rank=4, method=None)
    assert _weights(plain) == _weights(solved)
    by_default = _export(tmp_path / "default", examples, method=None)
    assert Bundle(by_default).manifest.recipe.absorbed
    own = _export(tmp_path / "own", examples, absorb=True, method="search")
    assert Bundle(own).manifest.recipe.method == "search"


def test_weights_do_not_depend_on_threads_and_nothing_is_left_beside_the_folder(
    tmp_path: Path, examples: Path, solved: Path
):
    again = _export(tmp_path / "m", examples, absorb=True, correct_rank=4, threads=3)
    assert _weights(again) == _weights(solved)
    assert os.listdir(tmp_path) == ["m"]


def test_a_killed_export_goes_on_behind_its_last_layer_and_gives_the_same_bytes(
    tmp_path: Path, examples: Path, solved: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = [str(small_checkpoint("native").path), str(tmp_path / "m"), str(examples)]
    assert run_forked(_KILLED, arguments, os.environ).returncode == -signal.SIGKILL
    held = sorted(path.name for path in (tmp_path / ".m.walk").iterdir())
    states = ["exact-001.npy", "exact-002.npy", "hidden-001.npy"]
    assert held == [*states, "layer-000.npz", "lock", "sequences.json", "walk.json"]
    monkeypatch.setattr("edgephi_export.solving.embedded", None)  # the sequences are there already
    assert _weights(_export(tmp_path / "m", examples, absorb=True, correct_rank=4)) == _weights(solved)
    assert os.listdir(tmp_path) == ["m"]


def test_the_files_of_a_walk_must_fit_on_the_disk_as_well(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
):
    """Minutes into the walk the disk would be full, though the folder itself fits."""
    folder = _export(tmp_path / "m", examples)
    taken = sum(path.stat().st_size for path in (folder / "weights").iterdir())
    needed: list[int] = []
    monkeypatch.setattr(
        "edgephi_export.exporter.check_space", lambda output, needed_bytes, what: needed.append(needed_bytes)
    )
    seen: list[int] = []
    add = WalkFiles.add

    def counted(files: WalkFiles, *rest: Any) -> None:
        add(files, *rest)
        seen.append(sum(path.stat().st_size for path in files.folder.iterdir()))

    monkeypatch.setattr(WalkFiles, "add", counted)
    _export(tmp_path / "n", examples)
    assert needed[0] - taken - (64 << 20) >= max(seen)


def test_what_another_export_left_is_not_used_and_one_at_work_is_not_disturbed(tmp_path: Path):
    rows = np.ones((3, 8), np.float32)
    with WalkFiles(tmp_path / "walk", "one") as files:
        files.begin([CalibrationSequence(adapter="none", rows=rows)], lambda adapter: True)
        assert files.has_sequences
        with pytest.raises(ConfigError, match="another export is at work"), WalkFiles(tmp_path / "walk", "one"):
            pass
    with WalkFiles(tmp_path / "walk", "one") as files:
        np.testing.assert_array_equal(files.hidden()[0], rows)
        np.testing.assert_array_equal(files.exact_hidden(0)[0], rows)
    with WalkFiles(tmp_path / "walk", "two") as files:
        assert not files.has_sequences
        assert sorted(os.listdir(tmp_path / "walk")) == ["lock", "walk.json"]


def test_sequences_are_taken_from_each_adapter_in_turn_until_there_are_enough():
    def sequence(adapter: Adapter, length: int) -> CalibrationSequence:
        return CalibrationSequence(adapter=adapter, rows=np.zeros((length, 2), np.float32))

    given = [sequence("none", 5), sequence("none", 5), sequence("none", 5), sequence("speech", 4)]
    assert [(one.adapter, len(one)) for one in chosen(given, 12)] == [("none", 5), ("speech", 4), ("none", 3)]
    assert len(chosen(given, 100)) == 4


def test_every_set_of_an_adapter_is_taken_however_far_back_it_stands():
    """Sixty pictures in front of spoken questions took all the room, and none of the questions was calibrated with."""
    given = [
        CalibrationSequence(adapter="vision", rows=np.zeros((4, 2), np.float32), group=group)
        for group in ("pictures", "pictures", "pictures", "spoken questions")
    ]
    assert [one.group for one in chosen(given, 12)] == ["pictures", "spoken questions", "pictures"]


def test_phi4_mini_gets_a_correction_as_its_only_adapter(tmp_path: Path, examples: Path):
    folder = _export(tmp_path / "m", examples, layout="phi3", correct_rank=3, overrides=("layers.*=int4:32",))
    shapes = {info.name: info.shape for info in Bundle(folder).tensor_index().tensors if ".text" in info.name}
    assert {shape[0] for name, shape in shapes.items() if ".lora_A." in name} == {3}
    with Model.load(folder) as model:
        assert np.isfinite(model.logits(Request("Say it."))).all()


def test_a_folder_of_one_purpose_has_2_bits_and_a_correction_of_its_adapters_rank(tmp_path: Path, examples: Path):
    """Its base is the sum of base and adapter, so the correction alone stands beside it."""
    purpose = {"recipe": "int2-absorbed", "method": None, "overrides": (), "adapters": "speech"}
    folder = _export(tmp_path / "m", examples, **purpose)
    manifest, tensors = Bundle(folder).manifest, Bundle(folder).tensor_index().tensors
    formats = {
        info.name: info.format for info in tensors if info.name.startswith("layers.") and "norm" not in info.name
    }
    assert {kind for name, kind in formats.items() if ".lora_" not in name} == {"int2:128"}
    assert {name.rpartition(".")[2] for name in formats if ".lora_" in name} == {"text"}
    ranks = {info.shape[0] for info in tensors if ".lora_A." in info.name}
    assert ranks == {manifest.recipe.correction_rank} == {_plan(make_recipe("fp32"), "speech").config.adapters[0].rank}
    rounded = tmp_path / "rounded"
    _export(rounded, examples, **{**purpose, "recipe": "int4", "method": "rtn", "overrides": ("layers.*=int2:128",),
                                  "correct_rank": 1})  # fmt: skip
    with Model.load(small_bundle("native", "speech")) as exact, Model.load(folder) as good, Model.load(rounded) as bad:
        served = [one.request for one in read_examples(examples) if one.mode == "speech"]
        wanted, close, far = ([model.logits(request) for request in served] for model in (exact, good, bad))
    errors = [sum(float(((a - b) ** 2).sum()) for a, b in zip(wanted, got, strict=True)) for got in (close, far)]
    assert errors[0] < 0.5 * errors[1]
    with Model.load(folder) as good:
        assert good.generate("Say it.", options=SamplingOptions(max_new_tokens=2)).adapter == "speech"


def test_a_folder_of_one_purpose_is_corrected_whatever_its_method(tmp_path: Path, examples: Path):
    folder = _export(tmp_path / "m", examples, recipe="int2-absorbed", method="rtn", overrides=(), adapters="speech")
    assert Bundle(folder).manifest.recipe.correction_rank > 0
    with Model.load(folder) as model:
        assert np.isfinite(
            model.logits(next(one.request for one in read_examples(examples) if one.mode == "speech"))
        ).all()


@pytest.mark.parametrize(
    ("options", "kinds", "message"),
    [
        (
            {"recipe": "int2-absorbed", "method": None, "overrides": (), "adapters": "speech"},
            ("text",),
            "no calibration example is speech, which this export is for",
        ),
        ({"recipe": "int2-absorbed", "method": None, "overrides": ()}, ("text",), "is for folders of one purpose; add"),
        (
            {"recipe": "int2-absorbed", "method": "rtn", "overrides": (), "adapters": "speech", "calibration": ()},
            ("text",),
            "need examples; add --calibration with a folder",
        ),
        ({"absorb": True}, ("text", "speech"), "no calibration example is for the vision adapter"),
        ({"correct_rank": 4}, ("speech",), "no calibration example is for requests without media"),
        ({"adapters": "speech", "overrides": ()}, ("text",), "no calibration example is speech"),
        ({"correct_rank": 4000}, ("text",), "--correct-rank 4000: this model's matrices take 1 to"),
        ({"absorb": True, "adapters": "none"}, ("text",), "--absorb solves routed adapters; this export has none"),
        ({"recipe": "fp32", "method": None, "overrides": (), "absorb": True}, ("text",), "stores floats"),
        ({"method": "search"}, ("text",), "a folder of examples is for --method weighted or gptq"),
        ({"calibration": ()}, ("text",), "need examples; add --calibration with a folder"),
        ({"calibration": ("nowhere",)}, ("text",), "--calibration nowhere: no such file or folder"),
        ({"correct_rank": -1}, ("text",), "correct_rank is -1; use 0"),
    ],
)
def test_what_cannot_be_solved_is_refused(
    tmp_path: Path, options: dict[str, Any], kinds: tuple[str, ...], message: str
):
    folder = write_examples(tmp_path / "examples", *kinds, count=1)
    with pytest.raises(ConfigError, match=message):
        _export(tmp_path / "m", folder, **options)
    assert not (tmp_path / "m").exists()
