"""Write the small files of the checkpoint: configuration and tokenizer.

    python -m edgephi_nano.base_files FOLDER

The contents come from `config` and `tokenizer`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgephi_nano.config import generation_config, model_config, preprocessor_config
from edgephi_nano.tokenizer import write_tokenizer


def write_base_files(folder: Path) -> None:
    """Write config.json, generation_config.json, preprocessor_config.json and the tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "config.json": model_config(),
        "generation_config.json": generation_config(),
        "preprocessor_config.json": preprocessor_config(),
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder)


if __name__ == "__main__":
    write_base_files(Path(sys.argv[1]))
