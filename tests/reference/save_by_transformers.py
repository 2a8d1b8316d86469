"""Writes what transformers saves beside the weights: `python tests/reference/save_by_transformers.py` in each release.

The small checkpoints of tests/support are loaded and saved again, and the small files are kept under
tests/assets/saved/RELEASE/LAYOUT. The weights are not: the tests make them, by the names in tensors.json.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import transformers
from safetensors import safe_open

TESTS = Path(__file__).resolve().parents[1]
HERE = TESTS / "assets" / "saved"


MODELS = {"phi3": "Phi3ForCausalLM", "native": "Phi4MultimodalForCausalLM"}


def main() -> None:
    """Both layouts, by the release that is installed."""
    sys.path.insert(0, str(TESTS))
    from support.checkpoints import write_checkpoint  # noqa: PLC0415 - needs the path

    for layout, model_class in MODELS.items():
        with tempfile.TemporaryDirectory() as scratch:
            source = write_checkpoint(Path(scratch) / "source", layout).path
            saved = Path(scratch) / "saved"
            model = getattr(transformers, model_class).from_pretrained(source)
            model.save_pretrained(saved)
            transformers.AutoTokenizer.from_pretrained(source).save_pretrained(saved)
            if layout == "native":
                _save_processor(source, saved)
            _keep(saved, HERE / f"transformers-{transformers.__version__}" / layout)


def _save_processor(source: Path, saved: Path) -> None:
    """The image's side needs torchvision: where there is none, only the sound's side is saved."""
    try:
        transformers.AutoProcessor.from_pretrained(source).save_pretrained(saved)
    except Exception as error:
        print(f"processor: {error}", file=sys.stderr)
        transformers.AutoFeatureExtractor.from_pretrained(source).save_pretrained(saved)


def _keep(saved: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shapes = {}
    for path in sorted(saved.iterdir()):
        if path.suffix == ".safetensors":
            with safe_open(path, "numpy") as tensors:
                shapes[path.name] = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        else:
            shutil.copy(path, place / path.name)
    (place / "tensors.json").write_text(json.dumps(shapes, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
