"""A checkpoint that was not exported must be asked exactly what its model folder is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, Request
from edgephi.base.errors import ConfigError
from edgephi_export.runtimes.checkpoint_prompts import CheckpointPrompts
from edgephi_export.runtimes.runtime import expanded_ids
from edgephi_export.runtimes.transformers_model import TransformersModel
from support.bundles import nano_bundle

NANO = Path(__file__).parents[3] / "nano"
SAMPLES = NANO / "samples"
TOOLS = '[{"name": "lock", "parameters": {}}]'
REQUESTS = {
    "text": Request("Repeat: red lamp"),
    "tools": Request([{"role": "system", "content": "Help.", "tools": TOOLS}, {"role": "user", "content": "lock it"}]),
    "images": Request("Compare.", images=[SAMPLES / "sign.png", SAMPLES / "number.png"]),
    "audio": Request("Transcribe the audio clip into text.", audio=[SAMPLES / "command.wav"]),
    "both": Request("", images=[SAMPLES / "number.png"], audio=[SAMPLES / "spoken-number-question.wav"]),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_what_the_model_folder_makes_of_it(name: str):
    made = CheckpointPrompts(NANO / "checkpoint").request(REQUESTS[name], 8)
    with Model.load(nano_bundle()) as model:
        prompt = model.prepare(REQUESTS[name]).prompt
    assert list(made.token_ids) == prompt.token_ids.tolist()
    assert all(
        np.array_equal(one.views.pixels, other.views.pixels) and one.num_rows == other.num_rows
        for one, other in zip(made.images, prompt.images, strict=True)
    )
    assert all(
        np.array_equal(one.mel, other.mel) and one.num_rows == other.num_rows
        for one, other in zip(made.audio, prompt.audio, strict=True)
    )
    assert len(expanded_ids(made.token_ids, made.images, made.audio, made.tokens)) == made.num_positions


def test_the_original_layout_is_refused_before_anything_is_imported():
    with pytest.raises(ConfigError, match=r"by the checkpoint.s own program code; give the layout of transformers"):
        TransformersModel(Path("x"), "phi4mm")
