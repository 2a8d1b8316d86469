"""The notice before a checkpoint is downloaded: how large it is, how long it takes, and under which licence."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import CapacityError
from edgephi.base.hardware import num_hardware_threads
from edgephi.base.units import human_bytes, human_duration

#: Of a line of 100 Mbit/s.
_LINE_BYTES_S = 12.5e6
#: Of a checkpoint in bfloat16 that one core turns into `int4`, which takes longest.
_CORE_BYTES_S = 60e6
_LONGEST_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A commit on the hub: files with their sizes, and the licence its card states."""

    sizes: dict[str, int]
    licence: str | None

    def words(self, repo_id: str, missing: int) -> str:
        """One line before the download of so many bytes."""
        cores = num_hardware_threads()
        licence = f"licence {self.licence}" if self.licence else "no licence stated"
        return (
            f"{repo_id}: {human_bytes(missing)} to download, {licence}; some {_time(missing / _LINE_BYTES_S)} at "
            f"100 Mbit/s, then about {_time(missing / _CORE_BYTES_S / cores)} to export with under 1 GB of memory"
        )


def list_commit(repo_id: str, commit: str) -> Listing | None:
    """Ask the hub; None where it gives no answer, which is no reason not to download."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repo_id, revision=commit, files_metadata=True, timeout=_LONGEST_WAIT_S)
        sizes = {file.rfilename: file.size for file in info.siblings or () if isinstance(file.size, int)}
        stated = getattr(info.card_data, "license", None)
    except Exception:  # offline, or a mirror without the interface; the download itself says what is wrong
        return None
    tags = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    words = stated if isinstance(stated, str) else next(iter(tags), None)
    return Listing(sizes=sizes, licence=words if words is None or words.isprintable() else None)


def check_cache_space(repo_id: str, needed_bytes: int) -> None:
    """Refuse a download that the cache's disk has no room for.

    Raises:
        CapacityError: It has not.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE).absolute()
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed_bytes > free:
        raise CapacityError(
            f"{repo_id}: {needed_bytes / 1e6:,.0f} MB to download, the disk of the download cache has "
            f"{free / 1e6:,.0f} MB free; free some space, or set HF_HOME to a folder on another disk"
        )


def _time(seconds: float) -> str:
    return human_duration(max(seconds, 1))
