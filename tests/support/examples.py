"""A folder of calibration examples for the small checkpoints: text, audio and images, one or two of each."""

from __future__ import annotations

import json
from pathlib import Path

from support.media_files import write_image, write_recording


def write_examples(folder: Path, *kinds: str, count: int = 2) -> Path:
    """`count` examples of each of `text`, `speech` and `vision`, as `kinds` names them."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        for kind in kinds:
            entry: dict[str, object] = {"messages": f"Say {kind} {number * 37}.", "answer": f"{kind} {number} it is"}
            if kind == "speech":
                entry["audio"] = [write_recording(folder / f"{number}.wav", 0.6).name]
            if kind == "vision":
                entry["images"] = [write_image(folder / f"{number}.png").name]
            lines.append(json.dumps(entry))
    (folder / "examples.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder
