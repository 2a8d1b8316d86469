"""A session must open only what is whole, and never call home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgephi.errors import ArtifactError, ConfigError
from edgephi.session import DeviceOptions, open_session
from support.bundles import small_bundle


def test_every_usable_core_is_the_default():
    assert DeviceOptions().num_threads == len(os.sched_getaffinity(0))
    assert DeviceOptions(threads=3).num_threads == 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "gpu"}, "device is 'gpu'; use 'cpu'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 1025}, "threads is 1025; use 1 to 1,024"),
        ({"threads": "4"}, "threads is '4'"),
        ({"threads": True}, "threads is True"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], match: str):
    with pytest.raises(ConfigError, match=match):
        DeviceOptions(**options)  # type: ignore[arg-type]


def test_a_missing_or_damaged_graph_is_named(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"gone.onnx: missing"):
        open_session(tmp_path / "gone.onnx", DeviceOptions())
    whole = (small_bundle() / "decoder.onnx").read_bytes()
    for name, content in (("text.onnx", b"not a graph"), ("cut.onnx", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=f"{name}: ONNX Runtime cannot load it"):
            open_session(tmp_path / name, DeviceOptions())


def test_telemetry_is_off_and_a_missing_library_names_the_command():
    code = (
        "import os, sys\nfrom edgephi.session import runtime\nfrom edgephi.errors import EdgeError\n"
        "sys.modules['onnxruntime'] = None\n"
        "try: runtime()\nexcept EdgeError as error: print(error)\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['ONNX Runtime is not installed; run: pip install "edgephi[cpu]"', "1"]
