"""What a device can leave out: packages that others bring along and that running a model never imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.bundles import small_bundle

#: Brought by `tokenizers` for downloads, and what they bring; docs/appliance.md names them.
NOT_NEEDED = (
    "huggingface_hub", "hf_xet", "truststore", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "anyio", "certifi",
    "idna", "fsspec", "filelock", "tqdm", "yaml", "requests", "urllib3", "typer", "rich", "shellingham",
)  # fmt: skip
_REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""
_RUN = """
import numpy, sys, edgephi
with edgephi.Model.load(sys.argv[1], threads=1) as model:
    image, sound = numpy.zeros((60, 60, 3), "uint8"), (numpy.ones(4000, "float32"), 16000)
    options = edgephi.SamplingOptions(max_new_tokens=2)
    print(len(model.generate("hi", options=options).token_ids))
    print(len(model.generate("hi", images=[image], audio=[sound], options=options).token_ids))
"""
_COMMAND = """
from edgephi.cli.main import main
main(sys.argv[1:], prog_name="edgephi")
"""


def _run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    whole = f"BLOCKED = {NOT_NEEDED!r}\n{_REFUSE}{code}"
    command = [sys.executable, "-c", whole, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_model_runs_without_the_packages_that_only_download():
    done = _run(_RUN, small_bundle())
    assert (done.returncode, done.stdout) == (0, "2\n2\n"), done.stderr


@pytest.mark.parametrize("command", ["run", "transcribe", "inspect", "verify"])
def test_every_command_of_a_device_runs_without_them(command: str):
    sample = Path(__file__).parents[1] / "nano/samples/command.wav"
    more = {"run": ["hi", "--max-new-tokens", "2"], "transcribe": [sample], "inspect": [], "verify": []}
    done = _run(_COMMAND, command, small_bundle(), *more[command])
    assert done.returncode == 0, done.stderr


def test_the_block_is_one():
    """Otherwise the tests above would prove nothing."""
    done = _run("import huggingface_hub")
    assert "No module named 'huggingface_hub'" in done.stderr
