"""Sizes of the small test model, and its config files: the published ones at these sizes, but for a few values.

The image tower has 16 heads and LayerNorm eps 1e-6 because the original layout does not state them: they are facts of
the public model, and every other size of the tower follows from tensor shapes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgephi_bench.synthetic.configs import write_configs, write_json
from edgephi_bench.synthetic.sizes import Layout, Sizes
from support.vocabulary import special_id

#: The same axes as the public model, a few thousand times smaller.
SMALL = Sizes(
    hidden=192, intermediate=256, layers=2, heads=3, kv_heads=1, head_size=64, vocab=400,
    image_hidden=64, image_intermediate=80, image_layers=3, image_heads=16, crop=56,
    audio_hidden=32, audio_intermediate=48, audio_blocks=2, audio_heads=2, audio_channels=16,
    vision_rank=8, vision_alpha=16,
    speech_rank=12, speech_alpha=36,  # another scale than vision's, so that swapping them is noticed
)  # fmt: skip
_ROPE = {
    "long_factor": [round(1.0 + 46.77 * (i / 23) ** 2, 4) for i in range(24)],
    # Not all ones, as in the public checkpoints, so that ignoring them is noticed.
    "short_factor": [round(1.0 + 0.02 * i, 4) for i in range(24)],
    "type": "longrope",
}
#: The public repositories' own code, which nothing here may ever ask for.
_CODE: dict[Layout, dict[str, Any]] = {
    "phi3": {"auto_map": {"AutoTokenizer": "Xenova/gpt-4o"}},
    "phi4mm": {
        "auto_map": {
            "AutoConfig": "configuration_phi4mm.Phi4MMConfig",
            "AutoModelForCausalLM": "modeling_phi4mm.Phi4MMForCausalLM",
            "AutoTokenizer": "Xenova/gpt-4o",
        }
    },
    "phi4_multimodal": {},
}


def write_small_configs(folder: Path, layout: Layout, sizes: Sizes, dtype: str) -> None:
    """The config files of a small checkpoint whose tensors are stored as `dtype`."""
    write_test_configs(folder, layout, sizes, torch_dtype=dtype, rope_scaling=_ROPE)


def write_test_configs(folder: Path, layout: Layout, sizes: Sizes, **changes: Any) -> None:
    """The config files of a layout with the ids of the small vocabulary; `changes` are to config.json."""
    write_configs(folder, layout, sizes, special_id)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", config | _CODE[layout] | changes)
