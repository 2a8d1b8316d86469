"""The model's own rule: which adapter and which audio projection serve a request.

request has        adapter   audio projection
text only          none      -
audio              speech    speech
image(s)           vision    -
image(s) and audio vision    vision

A folder of one purpose has one adapter, which is always on: text goes through it too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import Adapter, EncoderName, Manifest

Mode = Literal["text", "speech", "vision", "vision_speech"]
#: What a caller may ask for; `auto` is the rule.
AdapterChoice = Literal["auto", "none", "vision", "speech"]
ADAPTER_CHOICES: tuple[AdapterChoice, ...] = get_args(AdapterChoice)


@dataclass(frozen=True, slots=True)
class Route:
    """How one request goes through the model, prefill and decode alike. `projection` is None without audio."""

    mode: Mode
    adapter: Adapter
    projection: EncoderName | None

    @property
    def has_images(self) -> bool:
        """Whether requests of this mode hold an image."""
        return self.mode in ("vision", "vision_speech")

    @property
    def has_audio(self) -> bool:
        """Whether requests of this mode hold audio."""
        return self.projection is not None

    @property
    def label(self) -> str:
        """The mode for people, such as `vision + speech`."""
        return self.mode.replace("_", " + ")

    @property
    def inputs(self) -> str:
        """What requests of this mode hold, such as `text, images, audio`."""
        return ", ".join(["text", *["images"] * self.has_images, *["audio"] * self.has_audio])


#: The rule, for each mode.
ROUTES: dict[Mode, Route] = {
    "text": Route("text", "none", None),
    "speech": Route("speech", "speech", "speech"),
    "vision": Route("vision", "vision", None),
    "vision_speech": Route("vision_speech", "vision", "vision"),
}


def choose_route(manifest: Manifest, *, num_images: int, num_audio: int, adapter: AdapterChoice = "auto") -> Route:
    """The route of a request with this many images and audio inputs.

    Args:
        manifest: Of the bundle that will serve it.
        num_images: Images in the request.
        num_audio: Audio inputs in the request.
        adapter: `auto` for the rule; another name forces that adapter, for experiments on a routed bundle.

    Raises:
        ConfigError: The bundle lacks an encoder or the adapter that the rule asks for. The message names the export
            option.
    """
    route = next(r for r in ROUTES.values() if (r.has_images, r.has_audio) == (num_images > 0, num_audio > 0))
    if num_images and manifest.vision is None:
        raise missing_modality("vision", manifest)
    if num_audio and manifest.speech is None:
        raise missing_modality("speech", manifest)
    if route.projection and manifest.speech and route.projection not in manifest.speech.projections:
        raise ConfigError(
            f"this model folder has no {route.projection!r} audio projection, which a {route.mode} request needs; "
            "export the model again"
        )
    if adapter != "auto":
        return replace(route, adapter=_forced(manifest, adapter))
    if route.mode == "text" and manifest.has_one_purpose:
        return replace(route, adapter=manifest.adapters.available[0].name)
    _check_adapter(manifest, route)
    return route


def check_adapter_choice(adapter: AdapterChoice) -> None:
    """Refuse a choice that no model has.

    Raises:
        ConfigError: It names the choices.
    """
    if adapter not in ADAPTER_CHOICES:
        raise ConfigError(f"adapter is {adapter!r}; use {', '.join(ADAPTER_CHOICES)}")


def available_routes(manifest: Manifest) -> tuple[Route, ...]:
    """The routes that a bundle can serve by the rule, in the order of `ROUTES`.

    With a merged adapter text is not among them, but for folders of one purpose.
    """
    found = []
    for route in ROUTES.values():
        try:
            found.append(choose_route(manifest, num_images=int(route.has_images), num_audio=int(route.has_audio)))
        except ConfigError:
            continue
    return tuple(found)


class MissingModalityError(ConfigError):
    """Media of a kind that the bundle cannot take in; `name` is the kind."""

    def __init__(self, name: EncoderName, message: str) -> None:
        super().__init__(message)
        self.name = name


def missing_modality(name: EncoderName, manifest: Manifest | None = None) -> MissingModalityError:
    """The error for media of a kind that the bundle cannot take in: what it is, and what to export instead."""
    if manifest is None:
        return MissingModalityError(
            name, f"this model folder has no {name}; export the checkpoint with --adapters routed"
        )
    if manifest.source.model_type == "phi3":
        what, checkpoint = "it is a text model", "microsoft/Phi-4-multimodal-instruct"
    else:
        mode = manifest.adapters.mode
        what = f"it was made with --adapters {mode}" if mode != "routed" else "it was made with fewer --modalities"
        checkpoint = manifest.source.id if manifest.source.revision else "CHECKPOINT"
    return MissingModalityError(
        name,
        f"this model folder has no {name} ({what}); one that has: "
        f"`edgephi export {checkpoint} -o DIR --adapters routed`",
    )


def _forced(manifest: Manifest, adapter: AdapterChoice) -> Adapter:
    check_adapter_choice(adapter)
    if manifest.adapters.mode != "routed":
        raise ConfigError(
            f"adapter {adapter!r} cannot be forced: this model folder's adapters are {manifest.adapters.mode!r}; "
            "export with --adapters routed"
        )
    available: list[Adapter] = ["none", *(info.name for info in manifest.adapters.available)]
    for name in available:
        if name == adapter:
            return name
    raise ConfigError(f"this model folder has no {adapter} adapter; it has {', '.join(available)}")


def _check_adapter(manifest: Manifest, route: Route) -> None:
    mode = manifest.adapters.mode
    present = {info.name for info in manifest.adapters.available}
    if mode == "routed":
        if route.adapter != "none" and route.adapter not in present:
            raise ConfigError(
                f"this model folder has no {route.adapter} adapter, which a {route.mode} request needs; "
                "export with --adapters routed and all modalities"
            )
    elif mode != route.adapter:
        merged = "was exported without adapters" if mode == "none" else f"has its {mode} adapter merged in"
        needed = "no adapter" if route.adapter == "none" else f"the {route.adapter} adapter"
        raise ConfigError(
            f"this model folder {merged}, but a {route.mode} request needs {needed}; export with --adapters routed"
        )
