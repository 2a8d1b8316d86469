"""The programs of docs/examples/genai must run as they stand there: the C API is what C#, Java and Swift wrap."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest

from edgephi_export import ExportOptions, export
from genai.media import SAMPLES

pytestmark = pytest.mark.genai

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "genai"
ENVIRONMENT = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="module")
def folder(og: ModuleType, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("example") / "m", ExportOptions(recipe="int4", layout="genai"))


def _output(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=120,
        env={**ENVIRONMENT, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_python_program_transcribes(folder: Path):
    recording = SAMPLES / "sentence.wav"
    got = _output(sys.executable, EXAMPLES / "ask.py", folder, "Transcribe the audio clip into text.", recording)
    assert got == "the small cat likes my red circle"


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_c_program_transcribes(og: ModuleType, folder: Path, tmp_path: Path):
    """The library itself asks for ONNX Runtime's, which lies in the package of that."""
    library = Path(str(og.__file__)).parent / "libonnxruntime-genai.so"
    runtime = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    shared = tmp_path / "lib"
    shared.mkdir()
    for name in (runtime.name, "libonnxruntime.so"):
        (shared / name).symlink_to(runtime)
    program = tmp_path / "transcribe"
    _output("cc", "-Wall", "-Werror", EXAMPLES / "transcribe.c", "-o", program, library, f"-Wl,-rpath,{library.parent}")
    got = _output(program, folder, SAMPLES / "command.wav", LD_LIBRARY_PATH=str(shared))
    assert got == "open the kitchen window"
