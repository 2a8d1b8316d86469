"""A session must open only what is whole, and never call home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from edgephi.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.session import DeviceOptions, open_session, running, runtime
from support.bundles import copy_bundle, small_bundle


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


#: As ONNX Runtime 1.31.1 says it under a memory limit: loading, loading later, and running.
NO_MEMORY = [
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Load model from m.onnx failed:Failed to load model with error: "
    "std::bad_alloc",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc",
    "Error in execution: Non-zero status code returned while running Split node. Name:'layers.0.mlp.Split' Status "
    "Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 10240000",
]


@pytest.mark.parametrize("message", NO_MEMORY)
def test_too_little_memory_is_not_called_damage(monkeypatch: pytest.MonkeyPatch, message: str):
    """Exporting a sound model again would not help."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(runtime(), "InferenceSession", fail)
    with pytest.raises(CapacityError, match=r"decoder.onnx: not enough free memory to load it;.*smaller recipe$"):
        open_session(small_bundle() / "decoder.onnx", DeviceOptions())
    words = r"^not enough free memory for the decoder; free some, or shorten the input$"
    with pytest.raises(CapacityError, match=words), running("the decoder"):
        fail()


def test_another_failure_while_running_is_no_matter_of_memory():
    words = r"^ONNX Runtime failed in the decoder \(bad input\)$"
    with pytest.raises(EdgeError, match=words) as caught, running("the decoder"):
        raise RuntimeError("bad input\nmore")
    assert not isinstance(caught.value, CapacityError)


def test_a_graph_that_fails_says_so_once(tmp_path: Path):
    """The library would print the same error to stderr, in colours, beside the one line of ours."""
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    model = ir.load(folder / "decoder_text.onnx")
    next(node for node in model.graph if node.op_type == "MatMulNBits").attributes["bits"] = ir.AttrInt64("bits", 3)
    ir.save(model, folder / "odd.onnx")
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgephi.errors import ArtifactError\n"
        "from edgephi.session import DeviceOptions, open_session\n"
        "try: open_session(Path(sys.argv[1]), DeviceOptions())\nexcept ArtifactError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(folder / "odd.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
