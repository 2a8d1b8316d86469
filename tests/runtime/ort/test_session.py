"""A session must open only what is whole, and never call home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.ort.session import DeviceOptions, open_session, running, runtime
from support.bundles import copy_bundle, small_bundle


def test_the_physical_cores_are_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.ort.session.num_physical_cores", lambda: 7)
    assert DeviceOptions().num_threads == 7
    assert DeviceOptions(threads=3).num_threads == 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "gpu"}, "device is 'gpu'; use 'cpu', 'webgpu', 'cuda' or 'auto'"),
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
        "import os, sys\nfrom edgephi.ort.session import runtime\nfrom edgephi.base.errors import EdgeError\n"
        "sys.modules['onnxruntime'] = None\n"
        "try: runtime()\nexcept EdgeError as error: print(error)\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['ONNX Runtime is not installed; run: pip install "edgephi[cpu]"', "1"]


#: A helper thread's task outlives its `join` by a moment, which on a busy machine is long: they are waited for by id.
_COUNT = """
import os, sys, threading, time
from pathlib import Path
helpers, run = set(), threading.Thread.run
def noted(thread):
    helpers.add(str(threading.get_native_id()))
    run(thread)
threading.Thread.run = noted
from edgephi.ort import session
from edgephi.base.errors import EdgeError
path, options = Path(sys.argv[1]), session.DeviceOptions(threads=3)
def threads():
    while helpers & set(os.listdir('/proc/self/task')): time.sleep(0.01)
    return len(os.listdir('/proc/self/task'))
def opened(options):
    before = threads()
    kept.append(session.open_session(path, options))
    return threads() - before
kept = []
session.runtime()
"""


def _counted(code: str) -> list[str]:
    """What a process of its own prints: ONNX Runtime's common pool cannot be undone."""
    graph = small_bundle() / "decoder_text.onnx"
    done = subprocess.run([sys.executable, "-c", _COUNT + code, str(graph)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_each_session_has_threads_of_its_own_in_somebody_elses_program():
    """A common pool would make ONNX Runtime refuse the sessions of everybody else in the process."""
    code = (
        "print(opened(options), opened(options))\n"
        "import onnxruntime\nonnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])\n"
    )
    assert _counted(code) == ["2 2"]


def test_a_program_of_its_own_has_one_pool_and_refuses_another_size():
    code = (
        "session.share_threads()\nprint(opened(options), opened(options), opened(options))\n"
        "try: opened(session.DeviceOptions(threads=2))\nexcept EdgeError as error: print(error.exit_code, error)\n"
        "print(opened(options))\n"
    )
    words = "2 threads is 2, but the sessions of this process share a pool of 3; use that number, or another process"
    assert _counted(code) == ["2 0 0", words, "0"]


def test_sessions_from_before_the_common_pool_keep_their_own():
    code = "print(opened(options))\nsession.share_threads()\nprint(opened(options), opened(options))\n"
    assert _counted(code) == ["2", "2 0"]


def test_an_idle_model_burns_no_processor_time():
    """Threads that wait for work by spinning would drain a battery between two questions."""
    code = (
        "session.share_threads()\nimport time\nfrom edgephi import Model, SamplingOptions\n"
        "with Model.load(path.parent, threads=2) as model:\n"
        "    model.generate('hello', options=SamplingOptions(max_new_tokens=5))\n"
        "    for _ in range(10):  # spinning ends after a number of rounds, which take long on a busy machine\n"
        "        time.sleep(0.5)\n"
        "        before = time.process_time()\n"
        "        time.sleep(1)\n"
        "        burnt = time.process_time() - before\n"
        "        if burnt < 0.01: break\n"
        "    print(burnt)\n"
    )
    assert float(_counted(code)[0]) < 0.01


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
    """Exporting an intact model again would not help."""

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
        "import sys\nfrom pathlib import Path\nfrom edgephi.base.errors import ArtifactError\n"
        "from edgephi.ort.session import DeviceOptions, open_session\n"
        "try: open_session(Path(sys.argv[1]), DeviceOptions())\nexcept ArtifactError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(folder / "odd.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets names be any bytes")
def test_a_path_that_is_no_text_is_named_in_one_line(tmp_path: Path):
    """Of a disk whose names are in Latin-1: the user's way out is a new name, not a list of C++ signatures."""
    folder = copy_bundle(small_bundle(), Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9")))
    with pytest.raises(ConfigError, match=r"^b'.*caf\\xe9/decoder\.onnx': not UTF-8, .*; rename the folder$"):
        open_session(folder / "decoder.onnx", DeviceOptions())
