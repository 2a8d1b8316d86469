"""Everything that is wrong with a model folder and can be seen without loading it.

`Bundle` refuses a folder at its first fault; here each is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import EdgeError
from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, MANIFEST_NAME, TOKENIZER_NAME, Bundle, file_sha256, reading
from edgephi.bundle.manifest import FileInfo, Manifest
from edgephi.prompt.prompt_files import open_prompts
from edgephi.request import Request

#: Files up to this size are read and compared; the weights are larger, and `edgephi verify` reads them.
_READ_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCheck:
    """The findings. `bundle` is None where nothing can be said about the model."""

    bundle: Bundle | None
    problems: tuple[str, ...]


def check_folder(path: str, check_hashes: bool = False) -> FolderCheck:
    """Every fault of a model folder in one line each; `check_hashes` also reads the large files."""
    try:
        bundle = Bundle(path)
    except EdgeError as error:
        first, folder = str(error), Path(path)
        files = _file_problems(folder, _manifest(folder), check_hashes)
        others = [line for file, line in files.items() if not first.startswith(f"{file}:")]
        return FolderCheck(bundle=None, problems=(first, *others))
    faulty = _file_problems(bundle.path, bundle.manifest, check_hashes)
    problems = [*faulty.values()]
    problems += _damage(bundle) if not faulty else ()
    if not faulty.keys() & {bundle.file(TOKENIZER_NAME), bundle.file(CHAT_TEMPLATE_NAME)}:
        problems += _prompt_problem(bundle)
    return FolderCheck(bundle=bundle, problems=tuple(problems))


def _manifest(folder: Path) -> Manifest | None:
    """The manifest, where that much can be read."""
    path = folder / MANIFEST_NAME
    try:
        with reading(path):
            return Manifest.from_json(path.read_text(encoding="utf-8"), str(path))
    except EdgeError:
        return None


def _file_problems(folder: Path, manifest: Manifest | None, check_hashes: bool) -> dict[Path, str]:
    """One line for each file that is not what the manifest says."""
    problems = {}
    for info in () if manifest is None else manifest.files:
        path = folder / info.path
        try:
            problem = _file_problem(path, info, check_hashes)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
        if problem:
            problems[path] = f"{path}: {problem}; copy or export the model again"
    return problems


def _file_problem(path: Path, info: FileInfo, check_hashes: bool) -> str | None:
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != info.bytes:
        return f"{size:,} bytes, the manifest says {info.bytes:,}"
    if check_hashes or size <= _READ_BYTES:
        return "content differs from the manifest" if file_sha256(path) != info.sha256 else None
    with path.open("rb"):
        return None


def _damage(bundle: Bundle) -> list[str]:
    """The faults in some blocks of the weights."""
    try:
        bundle.look_for_damage()
    except EdgeError as error:
        return [str(error)]
    return []


def _prompt_problem(bundle: Bundle) -> list[str]:
    """The error that the first message would be refused with."""
    try:
        open_prompts(bundle).build(Request("hello").turns)
    except EdgeError as error:
        return [str(error)]
    return []
