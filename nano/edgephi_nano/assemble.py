"""Put the trained parts together as one checkpoint in the native layout, in bfloat16.

    python -m edgephi_nano.assemble STATE_DIR CHECKPOINT_DIR [--preliminary]

Reads what the stages wrote under STATE_DIR and proves the result: small enough, loads into the
model class with nothing missing or left over, and both adapters load into PEFT.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Phi4MultimodalForCausalLM

from edgephi_nano.adapters import adapter_state, attach, save_adapter
from edgephi_nano.base_files import write_base_files
from edgephi_nano.config import SPEECH_ADAPTER, VISION_ADAPTER, AdapterConfig
from edgephi_nano.modelling import new_model

MOST_BYTES = 16_000_000
PART_FILES = (
    "language/model.safetensors",
    "spoken/audio.safetensors",
    "sight/model.safetensors",
    "vision/model.safetensors",
    "spoken_questions/model.safetensors",
)
"""In order: a later stage's tensors replace an earlier one's."""
ADAPTER_FOLDERS = {
    "speech": ("spoken/speech-lora",),
    "vision": ("spoken_questions/vision-lora", "vision/vision-lora"),
}
"""For each adapter, the first folder there is."""


def merged_state(state_dir: Path, *, preliminary: bool) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint, from the latest stage that trained it.

    Raises:
        FileNotFoundError: A stage has not run, unless `preliminary`, which leaves its part untrained.
        ValueError: A stage's file holds a tensor the model does not have.
    """
    model = new_model()
    for name in PART_FILES:
        path = state_dir / name
        if preliminary and not path.exists():
            continue
        unexpected = model.load_state_dict(load_file(path), strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"{path}: the model has no {unexpected[0]}")
    state = model.state_dict()
    return {name: state[name].bfloat16().contiguous() for name in state if name != "lm_head.weight"}


def write_adapter(state_dir: Path, config: AdapterConfig, folder: Path, *, preliminary: bool) -> None:
    """Write one adapter in bfloat16; `preliminary` allows an untrained one, which changes nothing."""
    sources = [state_dir / name for name in ADAPTER_FOLDERS[config.name] if (state_dir / name).exists()]
    if sources:
        folder.mkdir(parents=True)
        shutil.copy(sources[0] / "adapter_config.json", folder)
        state = load_file(sources[0] / "adapter_model.safetensors")
    elif preliminary:
        model = new_model()
        attach(model, config)
        save_adapter(model, config, folder)
        state = adapter_state(model)
    else:
        raise FileNotFoundError(f"{state_dir} holds no {config.name} adapter; run its stage first")
    rounded = {name: value.bfloat16().contiguous() for name, value in state.items()}
    save_file(rounded, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def prove(folder: Path) -> None:
    """Load the written checkpoint as anyone would.

    Raises:
        ValueError: It is too large, or a tensor is missing, left over or of another shape.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size >= MOST_BYTES:
        raise ValueError(f"{folder} holds {size:,} bytes; it may hold {MOST_BYTES:,}")
    model, report = Phi4MultimodalForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report[kind]:
            raise ValueError(f"{folder}: {kind}: {sorted(report[kind])[0]}")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*adapter keys.*")  # PEFT only warns of missing tensors
        adapted = PeftModel.from_pretrained(model, folder / "speech-lora", adapter_name="speech")
        adapted.load_adapter(folder / "vision-lora", adapter_name="vision")
    print(f"{folder}: {size:,} bytes, loads with no missing and no unexpected tensors")


def assemble(state_dir: Path, folder: Path, *, preliminary: bool = False) -> None:
    """Write the checkpoint beside `folder`, prove it, then put it in its place."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_base_files(partial)
    save_file(
        merged_state(state_dir, preliminary=preliminary), partial / "model.safetensors", metadata={"format": "pt"}
    )
    for config in (SPEECH_ADAPTER, VISION_ADAPTER):
        write_adapter(state_dir, config, partial / f"{config.name}-lora", preliminary=preliminary)
    for path in partial.rglob("*.safetensors"):
        path.chmod(0o644)
    prove(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("checkpoint_dir", type=Path)
    parser.add_argument("--preliminary", action="store_true", help="leave parts that are not trained yet untrained")
    arguments = parser.parse_args()
    assemble(arguments.state_dir, arguments.checkpoint_dir, preliminary=arguments.preliminary)


if __name__ == "__main__":
    main()
