"""The tokens of a request that is not answered: its prompt and media are prepared as the model would, and no more."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from edgephi.audio.decoding import load_audio
from edgephi.audio.log_mel import log_mel, num_audio_rows
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Manifest
from edgephi.images.crops import num_image_rows, plan_crops, split_views
from edgephi.images.decoding import load_image
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.prompt_files import open_prompts
from edgephi.prompt.routing import choose_route
from edgephi.request import Request
from edgephi_serve.errors import invalid
from edgephi_serve.reading.chat import ChatWork
from edgephi_serve.reading.messages import runtime_messages
from edgephi_serve.wire.models import AudioCost, ImageCost


class PromptCosts:
    """Counts the tokens of requests. The folder's tokenizer is opened again for the first of them.

    Args:
        folder: Of the model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._prompts: PromptBuilder | None = None
        self._manifest: Manifest | None = None

    def clear(self) -> None:
        """The folder has changed."""
        with self._lock:
            self._prompts = self._manifest = None

    def cost(self, work: ChatWork) -> tuple[int, list[ImageCost | AudioCost]]:
        """Tokens without those of media, and the cost of each image and recording.

        Raises:
            EdgeError: As the request itself would.
            ApiError: Damaged base64.
        """
        with self._lock:
            prompts, manifest = self._open()
            request = Request(
                runtime_messages(work.messages),
                tools=work.tools,
                tool_choice=work.tool_choice,
                tags=False,
                paths=False,
            )
            prompt = prompts.build(request.turns, request.tool_use.tools)
            counts = {"num_images": len(prompt.images), "num_audio": len(prompt.audio)}
            choose_route(manifest, **counts, adapter=work.adapter)
            media: list[ImageCost | AudioCost] = [_image(source, manifest, work.max_crops) for source in prompt.images]
            media += [_audio(source, manifest) for source in prompt.audio]
        return len(prompt.token_ids) - len(media), media

    def _open(self) -> tuple[PromptBuilder, Manifest]:
        if self._prompts is None or self._manifest is None:
            bundle = Bundle(self._folder)
            try:
                self._prompts, self._manifest = open_prompts(bundle), bundle.manifest
            finally:
                bundle.close()
        return self._prompts, self._manifest


def _image(source: Any, manifest: Manifest, max_crops: int | None) -> ImageCost:
    info = manifest.vision
    assert info is not None, "choose_route has found it"
    if max_crops is not None and max_crops > info.max_crops:
        most = f"use 1 to {info.max_crops}, this model's own number"
        raise invalid(f"max_crops is {max_crops}; {most}.", param="edgephi.max_crops")
    image, most_crops = load_image(source), max_crops or info.max_crops
    plan = plan_crops(image.width, image.height, crop_size=info.crop_size, max_crops=most_crops)
    views = split_views(image, crop_size=info.crop_size, patch_size=info.patch_size, max_crops=most_crops)
    return ImageCost(
        crops=(plan.tile_columns, plan.tile_rows), scaled=(plan.width, plan.height), rows=num_image_rows(views)
    )


def _audio(source: Any, manifest: Manifest) -> AudioCost:
    info = manifest.speech
    assert info is not None, "choose_route has found it"
    waveform = load_audio(source)
    rows = num_audio_rows(len(log_mel(waveform)), info.time_reduction)
    return AudioCost(seconds=round(waveform.duration_s, 3), rows=rows)
