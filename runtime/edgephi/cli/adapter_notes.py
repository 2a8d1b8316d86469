"""Which adapter a conversation has, and when a message would have been better off with another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgephi.bundle.manifest import Adapter, Manifest

Kind = Literal["image", "audio"]
_TRANSCRIBING = re.compile(r"\btranscri|\btranslate the (audio|speech|recording|clip)", re.IGNORECASE)
_AUDIO_BESIDE_IMAGES = (
    "note: an earlier image keeps the vision adapter, which answers about images and was not made to transcribe; "
    "/reset and attach the audio again for the speech adapter"
)
_TAKES_OVER = "note: with an image the vision adapter takes over, for the earlier audio too"


def adapter_of(manifest: Manifest, kinds: Sequence[Kind]) -> Adapter:
    """The adapter of a request with these media.

    Raises:
        ConfigError: The folder cannot take them in.
    """
    from edgephi.prompt.routing import choose_route

    return choose_route(manifest, num_images=kinds.count("image"), num_audio=kinds.count("audio")).adapter


def adapter_note(manifest: Manifest, text: str, before: Sequence[Kind], new: Sequence[Kind]) -> str | None:
    """The note before a message is answered; None where its adapter is the one it would have alone.

    Args:
        manifest: Of the model.
        text: Of the message.
        before: The media of the turns before it.
        new: Those attached to it.

    Raises:
        ConfigError: The folder cannot take them in.
    """
    ruling = adapter_of(manifest, [*before, *new])
    if manifest.adapters.mode != "routed" or ruling != "vision":
        return None
    if "image" not in new and ("audio" in new or ("audio" in before and _TRANSCRIBING.search(text))):
        return _AUDIO_BESIDE_IMAGES
    if "image" in new and before and adapter_of(manifest, before) == "speech":
        return _TAKES_OVER
    return None
