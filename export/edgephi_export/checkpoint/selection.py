"""Decides which parts of a checkpoint go into a bundle.

the model's rule: image -> vision adapter (and the "vision" projection for audio beside it); audio alone -> speech
adapter; neither -> no adapter. A bundle must be able to follow it for every request that it accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import AdapterMode, EncoderName
from edgephi_export.checkpoint.config import MODALITIES, Modality


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The parts of a checkpoint that are exported.

    Attributes:
        modalities: `text` and the encoders.
        mode: How adapters are built into the decoder.
        adapters: The adapters that are read.
        projections: Output projections of the speech encoder.
    """

    modalities: tuple[Modality, ...]
    mode: AdapterMode
    adapters: tuple[EncoderName, ...]
    projections: tuple[EncoderName, ...]


def choose(adapters: str | None, modalities: Sequence[str] | None, available: tuple[Modality, ...]) -> Selection:
    """Combine the options with what the checkpoint can give.

    Args:
        adapters: `routed`, `speech`, `vision`, `none`; None for routed where there are adapters.
        modalities: What the bundle shall take in; None for all that the adapters allow.
        available: What the checkpoint has.

    Raises:
        ConfigError: An unknown word, a part that the checkpoint lacks, or a combination that could not follow the
            model's rule.
    """
    if adapters is not None and adapters not in get_args(AdapterMode):
        raise ConfigError(f"unknown adapter mode {adapters!r}; use {', '.join(get_args(AdapterMode))}")
    wanted = _modalities(modalities, adapters, available)
    encoders = tuple(name for name in wanted if name != "text")
    mode = cast(AdapterMode, adapters or ("routed" if encoders else "none"))
    _check(mode, wanted, available)
    if mode == "routed":
        return Selection(modalities=wanted, mode=mode, adapters=encoders, projections=encoders[::-1])
    if mode == "none":
        return Selection(modalities=wanted, mode=mode, adapters=(), projections=())
    return Selection(modalities=wanted, mode=mode, adapters=(mode,), projections=(mode,))


def _modalities(
    asked: Sequence[str] | None, adapters: str | None, available: tuple[Modality, ...]
) -> tuple[Modality, ...]:
    if asked is None:
        left_out = {"none": ("vision", "speech"), "speech": ("vision",)}.get(adapters or "", ())
        return tuple(name for name in available if name not in left_out)
    for name in asked:
        if name not in MODALITIES:
            raise ConfigError(f"unknown modality {name!r}; use {', '.join(MODALITIES)}")
        if name not in available:
            raise ConfigError(f"this checkpoint has no {name}; it has {', '.join(available)}")
    if "text" not in asked:
        raise ConfigError(f"modalities {','.join(asked)} lack text, which every model needs; add text")
    return tuple(name for name in MODALITIES if name in asked)


def _check(mode: str, wanted: tuple[Modality, ...], available: tuple[Modality, ...]) -> None:
    encoders = [name for name in wanted if name != "text"]
    if mode in ("vision", "speech") and mode not in wanted:
        have = "it has text only" if available == ("text",) else f"add {mode} to --modalities"
        raise ConfigError(f"--adapters {mode} needs the {mode} encoder; {have}")
    if mode == "speech" and "vision" in wanted:
        raise ConfigError("--adapters speech merges an adapter that cannot see; leave vision out or use routed")
    if mode == "none" and encoders:
        raise ConfigError(f"--adapters none is text only: the model needs an adapter for {' and '.join(encoders)}")
    if mode == "routed" and not encoders:
        raise ConfigError("--adapters routed has nothing to route without vision or speech; use --adapters none")
