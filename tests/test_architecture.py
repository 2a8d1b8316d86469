"""What must stay true of the packages as a whole."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import edgephi
from support.bundles import small_bundle

FORBIDDEN = {"torch", "transformers", "onnx", "onnx_ir", "scipy", "safetensors", "ml_dtypes", "rich"}
HOST_PACKAGES = {"edgephi_export", "edgephi_quantize", "edgephi_bench", "edgephi_evaluate", "edgephi_batch"}


def _modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after running `code`."""
    script = code + "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_the_runtime_imports_nothing_that_a_device_lacks():
    walk = (
        "import importlib, pkgutil, edgephi\n"
        "for module in pkgutil.walk_packages(edgephi.__path__, 'edgephi.'): importlib.import_module(module.name)"
    )
    loaded = _modules_after(walk)
    assert "numpy" in loaded
    assert not loaded & (FORBIDDEN | HOST_PACKAGES)


def test_running_a_model_imports_nothing_that_a_device_lacks():
    code = (
        "import numpy, edgephi\n"
        f"with edgephi.Model.load({str(small_bundle())!r}) as model:\n"
        "    image, sound = numpy.zeros((60, 60, 3), 'uint8'), (numpy.ones(4000, 'float32'), 16000)\n"
        "    options = edgephi.SamplingOptions(max_new_tokens=2)\n"
        "    model.generate('hi', images=[image], audio=[sound], options=options)"
    )
    loaded = _modules_after(code)
    assert "onnxruntime" in loaded
    assert not loaded & (FORBIDDEN | HOST_PACKAGES)


def test_help_is_fast_because_it_loads_nothing_heavy():
    code = "from edgephi.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    script = code.replace("main(['--help'])", "main(['run', '--help'])")
    for source in (code, script):
        quiet = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({source!r})"
        # The list of commands names the host's own, so the modules that declare them may be loaded, and nothing below.
        heavy = FORBIDDEN | {"numpy", "onnxruntime", "tokenizers", "jinja2", "PIL"}
        assert not _modules_after(quiet) & heavy


@pytest.mark.parametrize("name", edgephi.__all__)
def test_every_public_name_can_be_imported(name: str):
    assert getattr(edgephi, name) is not None


def test_no_other_name_is_public():
    assert set(dir(edgephi)) == set(edgephi.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        edgephi.Modle  # noqa: B018
