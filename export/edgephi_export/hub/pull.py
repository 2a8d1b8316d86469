"""Fetches a model folder that somebody exported and put on the Hugging Face hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from edgephi.base.atomic_write import FolderKind, check_output, check_space, staged
from edgephi.base.errors import ArtifactError, EdgeError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, file_sha256
from edgephi.bundle.manifest import FileInfo, Manifest
from edgephi_export.hub.download import check_id, downloading, fetch_file

_KIND = FolderKind("an edgephi model folder", (MANIFEST_NAME,))
#: Of the repository itself; its owner may change it, so the manifest does not list it.
_CARD = "README.md"
#: Beside the output until everything is there; another run goes on in it.
_PARTIAL = ".{name}.pull-{commit}"


def pull(
    repo_id: str,
    output: Path,
    *,
    revision: str | None = None,
    force: bool = False,
    on_file: Callable[[FileInfo], None] | None = None,
) -> Manifest:
    """Download a model folder, compare every file with its manifest, and put it into its place.

    What was downloaded before an interruption is kept beside the output and used by the next run.

    Args:
        repo_id: ORG/NAME.
        output: The folder to make.
        revision: Branch, tag or commit; None is the main branch.
        force: Replace an existing model folder, once the new one is complete.
        on_file: Called with each file before it is fetched; None for no progress bars either.

    Returns:
        The folder's manifest.

    Raises:
        ConfigError: The id, the revision or the output cannot be used, or huggingface-hub is not installed.
        ArtifactError: The repository holds no model folder, or a file is not what its manifest says.
        CapacityError: The disk has not enough room.
        EdgeError: The download failed.
    """
    check_id(repo_id, revision)
    check_output(output, _KIND, force=force)
    with downloading(repo_id, revision or "main", quiet=on_file is None):
        text, commit = _manifest_text(repo_id, revision or "main", output)
        manifest = Manifest.from_json(text, f"{repo_id}: {MANIFEST_NAME}")
        partial = output.absolute().with_name(_PARTIAL.format(name=output.name, commit=commit[:12]))
        missing = [info for info in manifest.files if not _is_whole(partial / info.path, info)]
        check_space(output, sum(info.bytes for info in missing), what="the download")
        for info in missing:
            if on_file is not None:
                on_file(info)
            _fetch_checked(repo_id, commit, partial, info)
        fetch_file(repo_id, _CARD, commit, partial)
    _put_in_place(partial, output, manifest, text, force=force)
    return manifest


def _manifest_text(repo_id: str, revision: str, output: Path) -> tuple[str, str]:
    """The text of edgephi.json, and the commit that it is of."""
    path = fetch_file(repo_id, MANIFEST_NAME, revision, None)
    if path is None:
        raise ArtifactError(
            f"{repo_id}: holds no edgephi model folder (no {MANIFEST_NAME}); if it is a checkpoint: "
            f"`edgephi export {repo_id} -o {output}`"
        )
    try:
        return path.read_text(encoding="utf-8"), path.parent.name
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{repo_id}: {MANIFEST_NAME} is no text ({error})") from error


def _fetch_checked(repo_id: str, commit: str, partial: Path, info: FileInfo) -> None:
    path = fetch_file(repo_id, info.path, commit, partial)
    if path is None:
        raise ArtifactError(
            f"{repo_id}: {info.path} is missing there, which its {MANIFEST_NAME} lists; report it to its owner"
        )
    if not _is_whole(path, info):
        path.unlink()
        raise ArtifactError(
            f"{repo_id}: {info.path} is not what its {MANIFEST_NAME} says ({info.bytes:,} bytes, sha256 "
            f"{info.sha256[:12]}...); run it again, and if it stays so report it to its owner"
        )


def _is_whole(path: Path, info: FileInfo) -> bool:
    return path.is_file() and path.stat().st_size == info.bytes and file_sha256(path) == info.sha256


def _put_in_place(partial: Path, output: Path, manifest: Manifest, text: str, *, force: bool) -> None:
    """Move the files into a staged folder; the manifest comes last."""
    with staged(output, _KIND, force=force) as folder:
        names = [info.path for info in manifest.files]
        for name in [*names, *([_CARD] if (partial / _CARD).is_file() and _CARD not in names else [])]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).rename(folder / name)
        (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
        try:
            Bundle(folder).close()
        except EdgeError as error:
            raise ArtifactError(f"{output}: {error}") from error
    shutil.rmtree(partial, ignore_errors=True)
