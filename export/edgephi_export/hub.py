"""Finds a checkpoint: a local folder, or a Hugging Face id that is downloaded first.

Owns what is downloaded. Knows nothing about what the files mean beyond `model_type`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.errors import ArtifactError, ConfigError, EdgeError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SMALL_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_ADAPTER_FILES = tuple(
    f"{name}-lora/{file}"
    for name in ("vision", "speech")
    for file in ("adapter_config.json", "adapter_model.safetensors")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A checkpoint on this machine: its folder, what to call it, and its revision if it has one."""

    folder: Path
    id: str
    revision: str | None


def locate(checkpoint: str | Path) -> Located:
    """The folder of a checkpoint; an id that is no folder here is downloaded or found in the local cache.

    Raises:
        ArtifactError: Neither a folder nor an id.
        ConfigError: huggingface-hub is not installed.
        EdgeError: The download failed.
    """
    folder = Path(checkpoint)
    if checkpoint != "" and os.path.isdir(folder):  # Path.is_dir raises where the name is too long
        return Located(folder=folder, id=folder.resolve().name, revision=None)
    if isinstance(checkpoint, str) and _ID.fullmatch(checkpoint) and not os.path.lexists(folder):
        return _download(checkpoint)
    raise ArtifactError(f"{checkpoint}: no such checkpoint; give a folder with config.json or a Hugging Face id")


def _download(repo_id: str) -> Located:
    try:
        from huggingface_hub import hf_hub_download, snapshot_download  # noqa: PLC0415 - optional
    except ImportError:
        raise ConfigError(
            f"{repo_id} is not a folder here, and downloading it needs huggingface-hub: pip install 'edgephi[export]'"
        ) from None
    try:
        with _errors_only():
            config = Path(hf_hub_download(repo_id, "config.json"))
            # The original repository also holds PEFT folders; its main files already contain the adapters.
            native = json.loads(config.read_text(encoding="utf-8")).get("model_type") == "phi4_multimodal"
            patterns = [*_SMALL_FILES, *_WEIGHT_FILES, *(_ADAPTER_FILES if native else ())]
            folder = Path(snapshot_download(repo_id, revision=config.parent.name, allow_patterns=patterns))
    except Exception as error:  # huggingface_hub raises errors of several libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EdgeError(
            f"{repo_id}: no such folder here, and it could not be downloaded ({reason}); check the id and the network, "
            "or download it elsewhere and pass its folder"
        ) from error
    return Located(folder=folder, id=repo_id, revision=folder.name)


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Keeps the library from logging every retry; what finally fails is raised, and told in one line."""
    from huggingface_hub.utils import logging as hub_logging  # noqa: PLC0415 - optional

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)
