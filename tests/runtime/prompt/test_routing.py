"""The right adapter for each request: with the wrong one the model refuses or invents."""

from __future__ import annotations

import dataclasses

import pytest

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Manifest
from edgephi.prompt.routing import Route, available_routes, choose_route
from support.bundles import small_bundle


@pytest.fixture(scope="module")
def routed() -> Manifest:
    return Bundle(small_bundle()).manifest


def _merged(manifest: Manifest, mode: str) -> Manifest:
    adapters = dataclasses.replace(manifest.adapters, mode=mode, available=())  # type: ignore[arg-type]
    decoder = dataclasses.replace(manifest.decoder, text_graph=None)
    return dataclasses.replace(manifest, adapters=adapters, decoder=decoder)


@pytest.mark.parametrize(
    ("images", "audio", "route"),
    [
        (0, 0, Route("text", "none", None)),
        (0, 2, Route("speech", "speech", "speech")),
        (3, 0, Route("vision", "vision", None)),
        (1, 1, Route("vision_speech", "vision", "vision")),
    ],
)
def test_the_models_own_rule(routed: Manifest, images: int, audio: int, route: Route):
    assert choose_route(routed, num_images=images, num_audio=audio) == route


@pytest.mark.parametrize("adapter", ["none", "vision", "speech"])
def test_an_adapter_can_be_forced_but_the_projection_follows_the_request(routed: Manifest, adapter: str):
    route = choose_route(routed, num_images=1, num_audio=1, adapter=adapter)  # type: ignore[arg-type]
    assert (route.adapter, route.projection) == (adapter, "vision")


def test_forcing_needs_a_routed_bundle_and_a_known_adapter(routed: Manifest):
    with pytest.raises(ConfigError, match=r"cannot be forced.*--adapters routed"):
        choose_route(_merged(routed, "speech"), num_images=0, num_audio=1, adapter="none")
    with pytest.raises(ConfigError, match="adapter is 'both'; use auto"):
        choose_route(routed, num_images=0, num_audio=0, adapter="both")  # type: ignore[arg-type]
    few = dataclasses.replace(routed, adapters=dataclasses.replace(routed.adapters, available=()))
    with pytest.raises(ConfigError, match="no vision adapter; it has none"):
        choose_route(few, num_images=0, num_audio=0, adapter="vision")


def test_text_goes_through_the_adapter_of_a_folder_of_one_purpose(routed: Manifest):
    """Its base cannot be used without the correction, which was solved with the adapter on."""
    decoder = dataclasses.replace(routed.decoder, text_graph=None)
    only = tuple(info for info in routed.adapters.available if info.name == "speech")
    adapters = dataclasses.replace(routed.adapters, mode="speech", available=only)
    recipe = dataclasses.replace(routed.recipe, name="int2-absorbed")
    purpose = dataclasses.replace(routed, adapters=adapters, decoder=decoder, recipe=recipe, vision=None)
    assert choose_route(purpose, num_images=0, num_audio=0) == Route("text", "speech", None)
    assert [route.mode for route in available_routes(purpose)] == ["text", "speech"]
    with pytest.raises(ConfigError, match="no vision"):
        choose_route(purpose, num_images=1, num_audio=0)


@pytest.mark.parametrize(
    ("mode", "images", "audio", "match"),
    [
        ("speech", 0, 0, "has its speech adapter merged in, but a text request needs no adapter"),
        ("speech", 1, 0, "but a vision request needs the vision adapter; export with --adapters routed"),
        ("speech", 1, 1, "but a vision_speech request needs the vision adapter"),
        ("vision", 0, 1, "has its vision adapter merged in, but a speech request needs the speech adapter"),
        ("none", 0, 1, "exported without adapters, but a speech request needs the speech adapter"),
    ],
)
def test_a_merged_bundle_refuses_what_its_adapter_would_answer_wrongly(
    routed: Manifest, mode: str, images: int, audio: int, match: str
):
    with pytest.raises(ConfigError, match=match):
        choose_route(_merged(routed, mode), num_images=images, num_audio=audio)


@pytest.mark.parametrize(
    ("mode", "images", "audio"), [("speech", 0, 1), ("vision", 1, 0), ("vision", 1, 1), ("none", 0, 0)]
)
def test_a_merged_bundle_serves_its_own_purpose(routed: Manifest, mode: str, images: int, audio: int):
    choose_route(_merged(routed, mode), num_images=images, num_audio=audio)


def test_a_missing_encoder_names_the_export_option(routed: Manifest):
    blind, deaf = dataclasses.replace(routed, vision=None), dataclasses.replace(routed, speech=None)
    with pytest.raises(ConfigError, match=r"^this model folder has no vision \("):
        choose_route(blind, num_images=1, num_audio=0)
    with pytest.raises(ConfigError, match=r"^this model folder has no speech \("):
        choose_route(deaf, num_images=0, num_audio=1)
    assert routed.speech is not None
    half = dataclasses.replace(routed, speech=dataclasses.replace(routed.speech, projections=("speech",)))
    with pytest.raises(ConfigError, match="no 'vision' audio projection"):
        choose_route(half, num_images=1, num_audio=1)
