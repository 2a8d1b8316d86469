"""Finds a checkpoint: a local folder, or a Hugging Face id that is downloaded first.

Files are fetched one after another rather than by a pool of threads, so that Ctrl-C stops at once. A file that is in
the cache, or known to be absent from that commit, is not asked for again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.documents import MOST_BYTES, is_document
from edgephi_export.checkpoint.checkpoint import read_layout
from edgephi_export.checkpoint.folder_check import CONFIG, INDEX, WEIGHTS, adapter_alone
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.peft_adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from edgephi_export.hub.announcement import Listing, check_cache_space, list_commit
from edgephi_export.options import BESIDE

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: What git allows in the name of a branch or tag, less the exotic; a commit's hash is one too.
_REVISION = re.compile(r"(?!.*(\.\.|//))\w[\w.+/-]*")
#: A folder of huggingface_hub's cache: `models--ORG--NAME/snapshots/COMMIT`.
_SNAPSHOT = re.compile(r"models--(?P<id>[\w.-]+?--[\w.-]+)/snapshots/(?P<revision>\w+)")
_SMALL_FILES = (
    "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "chat_template.json", "processor_config.json", "special_tokens_map.json",
    ADAPTER_CONFIG,  # which the folder's check refuses beside a base
)  # fmt: skip
_USUAL_PAPERS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "README.md")
_ADAPTER_FILES = tuple(
    f"{name}-lora/{file}"
    for name in ("vision", "speech")
    for file in ("adapter_config.json", "adapter_model.safetensors")
)
_OR_PASS_A_FOLDER = "or download it elsewhere and pass its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """A checkpoint or adapter on this machine.

    Attributes:
        folder: Where it is.
        id: What to call it.
        revision: Its commit if it came from the hub.
        is_download: Whether it was given by its Hugging Face id, so that more of it can be fetched.
    """

    folder: Path
    id: str
    revision: str | None
    is_download: bool = False


def locate(checkpoint: str | Path, revision: str | None = None, *, quiet: bool = False) -> CheckpointSource:
    """The folder of a checkpoint; an id that is no folder here is downloaded or found in the local cache.

    Args:
        checkpoint: A folder, or a Hugging Face id.
        revision: Branch, tag or commit of an id; None is its main branch.
        quiet: No progress bars. They show only where stderr is a terminal.

    Raises:
        ArtifactError: Neither a folder nor an id, or a repository that holds no checkpoint of a known kind.
        ConfigError: A revision of a folder, a revision that cannot be one, or huggingface-hub is not installed.
        CapacityError: The cache's disk filled up.
        EdgeError: The download failed.
    """
    folder = Path(checkpoint)
    if checkpoint != "" and os.path.isdir(folder):  # Path.is_dir raises where the name is too long
        if revision is not None:
            raise ConfigError(
                f"{checkpoint}: a folder here has no revision {revision!r}; leave --revision out, or give an id"
            )
        return _named(folder)
    if not isinstance(checkpoint, str) or not _ID.fullmatch(checkpoint) or os.path.lexists(folder):
        raise ArtifactError(f"{checkpoint}: no such checkpoint; give a folder with config.json or a Hugging Face id")
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ConfigError(f"{revision!r} is no revision; give the name of a branch or tag, or a commit")
    return _download(checkpoint, revision or "main", quiet, _fetch_all)


def locate_adapter(adapter: str | Path, base: CheckpointSource, *, quiet: bool = False) -> CheckpointSource:
    """The folder of a PEFT adapter.

    Args:
        adapter: A folder, a Hugging Face id, or `beside` for the one in the base's own folder or repository.
        base: The checkpoint.
        quiet: As for `locate`.

    Raises:
        ArtifactError: Neither a folder nor an id, or a repository without an adapter.
        ConfigError: huggingface-hub is not installed.
        CapacityError: The cache's disk filled up.
        EdgeError: The download failed.
    """
    if adapter == BESIDE and base.is_download:
        return _download(base.id, base.revision or "main", quiet, _fetch_adapter)
    folder = base.folder if adapter == BESIDE else Path(adapter)
    if adapter != "" and os.path.isdir(folder):
        return _named(folder)
    if not isinstance(adapter, str) or not _ID.fullmatch(adapter) or os.path.lexists(folder):
        raise ArtifactError(f"{adapter}: no such adapter; give a folder that PEFT wrote or a Hugging Face id")
    return _download(adapter, "main", quiet, _fetch_adapter)


def _named(folder: Path) -> CheckpointSource:
    """A folder here; one of the hub's cache keeps the name and commit of its repository."""
    path = folder.absolute()
    if found := _SNAPSHOT.fullmatch("/".join(path.parts[-3:])) or _SNAPSHOT.fullmatch(
        "/".join(path.resolve().parts[-3:])
    ):
        return CheckpointSource(folder=folder, id=found["id"].replace("--", "/", 1), revision=found["revision"])
    name = path.resolve().name
    if not name.isprintable():
        raise ConfigError(f"{os.fsencode(folder)!r}: this folder's name cannot be printed; rename it")
    return CheckpointSource(folder=folder, id=name, revision=None)


def check_id(repo_id: str, revision: str | None) -> None:
    """Refuse what can be no repository of the hub, or no revision.

    Raises:
        ConfigError: It cannot.
    """
    if not _ID.fullmatch(repo_id):
        raise ConfigError(f"{repo_id!r} is no id of the Hugging Face hub; give ORG/NAME")
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ConfigError(f"{revision!r} is no revision; give the name of a branch or tag, or a commit")


def _download(repo_id: str, revision: str, quiet: bool, fetch: Callable[[str, str, bool], Path]) -> CheckpointSource:
    with downloading(repo_id, revision, quiet=quiet, what="no such folder here, and it could not be downloaded"):
        folder = fetch(repo_id, revision, quiet)
    return CheckpointSource(folder=folder, id=repo_id, revision=folder.name, is_download=True)


@contextlib.contextmanager
def downloading(repo_id: str, revision: str, *, quiet: bool, what: str = "could not be downloaded") -> Iterator[None]:
    """Around whatever asks the hub: what fails becomes one line that says what to do.

    Raises:
        ConfigError: huggingface-hub is not installed.
        CapacityError: The disk filled up.
        EdgeError: The download failed; the message names `what`.
    """
    try:
        import huggingface_hub  # noqa: F401 - optional
    except ImportError:
        raise ConfigError(
            f"{repo_id} is not a folder here, and downloading it needs huggingface-hub: pip install 'edgephi[export]'"
        ) from None
    try:
        with _errors_only(), _bars(quiet or not sys.stderr.isatty()):
            yield
    except EdgeError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CapacityError(
                f"{repo_id}: the disk of the download cache filled up; free some space, or set HF_HOME to a folder on "
                "another disk"
            ) from error
        raise EdgeError(f"{repo_id}: {what}: {_reason(revision, error)}") from error
    except Exception as error:  # huggingface_hub raises errors of several libraries
        raise EdgeError(f"{repo_id}: {what}: {_reason(revision, error)}") from error


def fetch_file(repo_id: str, name: str, revision: str, folder: Path | None) -> Path | None:
    """One file, into `folder` or, where that is None, the library's cache; None where there is no such file.

    An interrupted download goes on where it stopped.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo_id, name, revision=revision, local_dir=folder))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _fetch_all(repo_id: str, revision: str, quiet: bool) -> Path:
    """The folder of one commit with all that an export reads; what the repository lacks is the reader's to refuse."""
    config = _fetch(repo_id, CONFIG, revision, known_commit=False)
    if config is None:
        if (adapter := _fetch(repo_id, ADAPTER_CONFIG, revision, known_commit=False)) is not None:
            raise ArtifactError(adapter_alone(adapter.parent, repo_id))
        raise ArtifactError(f"{repo_id}: the repository has no {CONFIG}; give one with a checkpoint in safetensors")
    folder = config.parent
    commit = folder.name
    layout = read_layout(folder)  # a model of another kind is refused before its gigabytes
    listing = None if _has_weights(repo_id, commit) else list_commit(repo_id, commit)
    if listing is not None:
        _announce(repo_id, listing, layout, quiet)
    for name in _SMALL_FILES:
        _fetch(repo_id, name, commit)
    for name in _documents(listing):
        _fetch_paper(repo_id, name, commit)
    # The original repository also holds PEFT folders; its main files already contain the adapters.
    for name in _ADAPTER_FILES if layout == "phi4_multimodal" else ():
        _fetch(repo_id, name, commit)
    if _fetch(repo_id, WEIGHTS, commit) is None:
        for name in _shards(_fetch(repo_id, INDEX, commit)):
            _fetch(repo_id, name, commit)
    return folder


def _has_weights(repo_id: str, commit: str) -> bool:
    """Whether an earlier run got as far as the weights."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repo_id, name, revision=commit), str) for name in (WEIGHTS, INDEX))


def _announce(repo_id: str, listing: Listing, layout: str, quiet: bool) -> None:
    """Say what will be downloaded, once it is known that there is room for it."""
    wanted = {*_SMALL_FILES, *_documents(listing), *(_ADAPTER_FILES if layout == "phi4_multimodal" else ())}
    weights = [WEIGHTS] if WEIGHTS in listing.sizes else [n for n in listing.sizes if _SHARD.fullmatch(n)]
    missing = sum(size for name, size in listing.sizes.items() if name in wanted or name in weights)
    check_cache_space(repo_id, missing)
    if not quiet:
        print(listing.words(repo_id, missing), file=sys.stderr)


def _documents(listing: Listing | None) -> list[str]:
    """Licence, card and the like; their usual names where the hub does not list them."""
    if listing is None:
        return list(_USUAL_PAPERS)
    return [name for name, size in listing.sizes.items() if is_document(name) and size <= MOST_BYTES]


def _fetch_paper(repo_id: str, name: str, commit: str) -> None:
    """As `_fetch`; a cache that was filled before these documents were fetched does without."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    with contextlib.suppress(LocalEntryNotFoundError, OfflineModeIsEnabled):
        _fetch(repo_id, name, commit)


def _fetch_adapter(repo_id: str, revision: str, quiet: bool) -> Path:  # noqa: ARG001 - as _fetch_all
    """The folder of one commit with the adapter that it holds."""
    config = _fetch(repo_id, ADAPTER_CONFIG, revision, known_commit=False)
    if config is None:
        raise ArtifactError(f"{repo_id}: the repository has no {ADAPTER_CONFIG}, so it holds no adapter of PEFT's")
    _fetch(repo_id, ADAPTER_WEIGHTS, config.parent.name)
    return config.parent


def _fetch(repo_id: str, name: str, revision: str, *, known_commit: bool = True) -> Path | None:
    """One file, from the cache or the hub; None where the repository has no such file."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if known_commit:  # nothing about a commit ever changes
        known = try_to_load_from_cache(repo_id, name, revision=revision)
        if known is not None:
            return Path(known) if isinstance(known, str) else None
    try:
        return Path(hf_hub_download(repo_id, name, revision=revision))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _shards(index: Path | None) -> list[str]:
    """Names of the weight files; the reader refuses an index that is missing, damaged, or names anything else."""
    if index is None:
        return []
    places = Fields.load(index).section("weight_map").values
    return sorted(
        {
            name
            for name in places.values()
            if isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
        }
    )


def _reason(revision: str, error: Exception) -> str:
    from huggingface_hub import constants, errors

    if not isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return _refusal(revision, error) or f"{lines[0]}; run it again to go on from there, {_OR_PASS_A_FOLDER}"
    if constants.HF_HUB_OFFLINE:
        return f"HF_HUB_OFFLINE is set, and it is not complete in the cache; unset it, {_OR_PASS_A_FOLDER}"
    status = _status(error.__cause__)
    what = "the hub cannot be reached" if status is None else f"the hub answers with error {status}"
    return f"{what}, and it is not complete in the cache; check the network, {_OR_PASS_A_FOLDER}"


def _refusal(revision: str, error: Exception) -> str | None:
    """The reason why a hub that was reached refuses the request; None where it is something else."""
    from huggingface_hub import errors, get_token

    if isinstance(error, errors.GatedRepoError):
        return "it is gated; ask for access on its page, then set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}; give one of its branches, tags or commits"
    if _status(error) == 401 and get_token() is not None:
        return "the hub does not know this HF_TOKEN; renew it, or unset it for a public repository"
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) in (401, 403):
        return "no such repository, or not one for you; check the id, and set HF_TOKEN if it is private"
    return None


def _status(error: BaseException | None) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Keeps the library from logging every retry; what finally fails is raised, and reported in one line."""
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)


@contextlib.contextmanager
def _bars(hidden: bool) -> Iterator[None]:
    """Hides the library's progress bars; HF_HUB_DISABLE_PROGRESS_BARS, where it is set, goes before."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    stated = constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    if not hidden or stated or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
