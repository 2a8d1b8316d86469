"""A user's own prompts for `edgephi bench --prompts FILE.jsonl`: one JSON object a line.

    {"prompt": "What is this?", "images": ["door.jpg"]}
    {"prompt": "Write down what is said.", "audio": ["call.wav"]}

Paths are relative to the file's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.json_file import decode, parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrompt:
    """One line.

    Attributes:
        prompt: The user's words.
        images: Image files.
        audio: Audio files.
        name: Its name in reports; its line's number where it has none.
    """

    prompt: str
    images: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    name: str = ""

    @property
    def mode(self) -> str:
        """The mode of the request."""
        if self.images:
            return "vision"
        return "speech" if self.audio else "text"


def read_prompts(path: Path) -> tuple[OwnPrompt, ...]:
    """Read the file; empty lines are left out.

    Raises:
        ConfigError: It cannot be read, a line is no such object, a name comes twice, or a file of it is missing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts {path}: cannot be read ({error})") from error
    found = [_prompt(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ConfigError(f'--prompts {path}: has no prompts; write one JSON object a line, such as {{"prompt": "Hi"}}')
    names = [item.name for item in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--prompts {path}: the name {twice[0]!r} comes twice")
    return tuple(found)


def _prompt(line: str, path: Path, number: int) -> OwnPrompt:
    where = f"--prompts {path}, line {number}"
    try:
        read = decode(OwnPrompt, parse_json(line, where), where)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error
    if not read.prompt.strip() and not (read.images or read.audio):
        raise ConfigError(f"{where}: the prompt is empty")
    images, audio = (tuple(str(path.parent.absolute() / name) for name in names) for names in (read.images, read.audio))
    for name in (*images, *audio):
        if not Path(name).is_file():
            raise ConfigError(f"{where}: {name} is no file")
    return OwnPrompt(prompt=read.prompt, images=images, audio=audio, name=read.name or f"line {number}")
