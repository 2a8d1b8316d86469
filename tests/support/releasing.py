"""A small model with its record and keys, and what packs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from edgephi_pack.cli import main
from support.bundles import copy_bundle, nano_bundle, small_bundle
from support.probes import write_samples
from support.shell import invoke

#: The time of every release of the tests.
EPOCH = "1790000000"
SAMPLES = Path(__file__).parents[2] / "nano/samples"


def run_pack(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], env={"SOURCE_DATE_EPOCH": EPOCH})


def make_bench(place: Path) -> Path:
    """Keys, a small model, its record and its licence in a folder."""
    copy_bundle(small_bundle(), place / "model")
    (place / "probe").mkdir()
    write_samples(place / "probe", place / "model", ("text", "speech"))
    return _with_keys(place)


def make_nano_bench(place: Path, *, one_of_each_mode: bool = False) -> Path:
    """The same of the demo's model and its samples."""
    copy_bundle(nano_bundle(), place / "model")
    shutil.copytree(SAMPLES, place / "probe")
    if one_of_each_mode:
        file = place / "probe/samples.json"
        samples = json.loads(file.read_text(encoding="utf-8"))["samples"]
        kept = {sample["mode"]: sample for sample in samples}
        file.write_text(json.dumps({"samples": list(kept.values())}), encoding="utf-8")
    return _with_keys(place)


def _with_keys(place: Path) -> Path:
    assert run_pack("keys", "new", place / "keys").exit_code == 0
    assert invoke("probe", place / "model", "--record").exit_code == 0
    (place / "LICENCE").write_text("MIT License\n\nof the model\n", encoding="utf-8")
    return place


def release_of(bench: Path, *, model: Path | None = None) -> tuple[object, ...]:
    """The options that every format takes, but for the output."""
    places = (model or bench / "model", "--probe", bench / "probe", "--model-licence", bench / "LICENCE")
    return (*places, "--name", "kiosk", "--version", "1.0")


def pack(bench: Path, output: Path, counter: int, *more: object, model: Path | None = None) -> Result:
    """`edgephi-pack bundle`."""
    signed = ("-o", output, "--keys", bench / "keys", "--counter", counter)
    return run_pack("bundle", *release_of(bench, model=model), *signed, *more)
