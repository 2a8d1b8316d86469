"""Requests to a checkpoint that was not exported: prompts and features by the device's own rules.

Those rules give what the reference's processor gives, so a runtime that is fed by them is compared by its model alone.
"""

from __future__ import annotations

from pathlib import Path

from edgephi import Request
from edgephi.audio.decoding import load_audio, log_mel, num_audio_rows
from edgephi.audio.features import AudioFeatures, AudioInput
from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.decoding import load_image
from edgephi.images.features import ImageFeatures, ImageInput
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import Tokenizer
from edgephi_export.checkpoint.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.selection import choose
from edgephi_export.checkpoint.template_names import read_template_names
from edgephi_export.runtimes.runtime import RuntimeRequest


class CheckpointPrompts:
    """Makes requests of one checkpoint.

    Args:
        folder: The checkpoint.

    Attributes:
        layout: Of the checkpoint.
        checkpoint: What it is; its weights are not read.

    Raises:
        ArtifactError: It is damaged, or none that this program knows.
    """

    def __init__(self, folder: Path) -> None:
        self.layout = read_layout(folder)
        self.checkpoint = open_checkpoint(folder, choose(None, None, available_modalities(self.layout)))
        template, tokens = self.checkpoint.chat_template, self.checkpoint.config.tokens
        named = (tokens.bos, tokens.pad, tokens.image, tokens.audio, *tokens.eos)
        path = folder / TOKENIZER_NAME
        tokenizer = Tokenizer(
            path.read_text(encoding="utf-8"),
            str(path),
            template=template,
            control_ids={number for number in named if number is not None},
        )
        names = {name.name: name.content for name in read_template_names(folder)} or None
        self._prompts = PromptBuilder(tokenizer, template, tokens, str(folder), names)

    def request(self, request: Request, max_new_tokens: int) -> RuntimeRequest:
        """Token ids and features.

        Raises:
            ConfigError: The template has no place for a message, or media cannot be used.
            CapacityError: An image or a recording is too large.
        """
        prompt = self._prompts.build(request.turns, request.tool_use.tools)
        return RuntimeRequest(
            token_ids=tuple(map(int, prompt.token_ids)),
            images=tuple(map(self._image, prompt.images)),
            audio=tuple(map(self._audio, prompt.audio)),
            tokens=self.checkpoint.config.tokens,
            max_new_tokens=max_new_tokens,
        )

    def _image(self, source: ImageInput) -> ImageFeatures:
        info = self.checkpoint.config.vision
        if isinstance(source, ImageFeatures) or info is None:
            raise ConfigError("this checkpoint takes no images; leave them out")
        views = split_views(
            load_image(source), crop_size=info.crop_size, patch_size=info.patch_size, max_crops=info.max_crops
        )
        return ImageFeatures(views, num_image_rows(views))

    def _audio(self, source: AudioInput) -> AudioFeatures:
        info = self.checkpoint.config.speech
        if isinstance(source, AudioFeatures) or info is None:
            raise ConfigError("this checkpoint takes no audio; leave it out")
        mel = log_mel(load_audio(source))
        return AudioFeatures(mel, num_audio_rows(len(mel), info.time_reduction))
