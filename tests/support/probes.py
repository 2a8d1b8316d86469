"""Records of `edgephi probe` for small random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgephi import Model, SamplingOptions
from support.media_files import write_image, write_recording

_MEDIA = {
    "text": {},
    "speech": {"audio": "voice.wav"},
    "vision": {"image": "sign.png"},
    "vision_speech": {"image": "sign.png", "audio": "voice.wav"},
}


def write_samples(folder: Path, bundle: Path, modes: tuple[str, ...] = tuple(_MEDIA)) -> Path:
    """A folder of samples whose expected answers are the model's own."""
    write_image(folder / "sign.png")
    write_recording(folder / "voice.wav")
    entries: list[dict[str, Any]] = [
        {"mode": mode, "title": f"a {mode} sample", "prompt": "what is it", **_MEDIA[mode]} for mode in modes
    ]
    with Model.load(bundle) as model:
        for entry in entries:
            entry["expected"] = model.generate(
                entry["prompt"],
                images=[folder / entry["image"]] if "image" in entry else [],
                audio=[folder / entry["audio"]] if "audio" in entry else [],
                options=SamplingOptions.greedy(max_new_tokens=128),
            ).text
    (folder / "samples.json").write_text(json.dumps({"samples": entries}), encoding="utf-8")
    return folder
