"""A bundle must be able to follow the model's rule for every request it accepts; other options are refused."""

from __future__ import annotations

import pytest

from edgephi.base.errors import ConfigError
from edgephi_export.checkpoint.config import MODALITIES
from edgephi_export.checkpoint.selection import choose


@pytest.mark.parametrize(
    ("adapters", "modalities", "expected"),
    [
        (None, None, (("text", "vision", "speech"), "routed", ("vision", "speech"), ("speech", "vision"))),
        ("routed", ["speech", "text"], (("text", "speech"), "routed", ("speech",), ("speech",))),
        (None, ["text", "vision"], (("text", "vision"), "routed", ("vision",), ("vision",))),
        (None, ["text"], (("text",), "none", (), ())),
        ("none", None, (("text",), "none", (), ())),
        ("speech", None, (("text", "speech"), "speech", ("speech",), ("speech",))),
        ("vision", None, (("text", "vision", "speech"), "vision", ("vision",), ("vision",))),
        ("vision", ["text", "vision"], (("text", "vision"), "vision", ("vision",), ("vision",))),
    ],
)
def test_what_goes_in(adapters: str | None, modalities: list[str] | None, expected: tuple[object, ...]):
    chosen = choose(adapters, modalities, MODALITIES)
    assert (chosen.modalities, chosen.mode, chosen.adapters, chosen.projections) == expected


@pytest.mark.parametrize(
    ("adapters", "modalities", "message"),
    [
        ("both", None, "unknown adapter mode 'both'; use routed, speech, vision, none"),
        (None, ["text", "touch"], "unknown modality 'touch'; use text, vision, speech"),
        (None, ["speech"], "modalities speech lack text"),
        ("none", ["text", "vision"], "--adapters none is text only: the model needs an adapter for vision"),
        ("speech", ["text", "vision", "speech"], "--adapters speech merges an adapter that cannot see"),
        ("speech", ["text"], "--adapters speech needs the speech encoder; add speech"),
        ("vision", ["text", "speech"], "--adapters vision needs the vision encoder; add vision"),
        ("routed", ["text"], "--adapters routed has nothing to route"),
    ],
)
def test_impossible_combinations_are_refused(adapters: str | None, modalities: list[str] | None, message: str):
    with pytest.raises(ConfigError, match=message):
        choose(adapters, modalities, MODALITIES)


def test_a_text_model_has_no_encoders():
    assert choose(None, None, ("text",)).mode == "none"
    with pytest.raises(ConfigError, match="this checkpoint has no speech; it has text"):
        choose(None, ["text", "speech"], ("text",))
    with pytest.raises(ConfigError, match="--adapters vision needs the vision encoder; it has text only"):
        choose("vision", None, ("text",))
