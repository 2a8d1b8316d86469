"""The oracle: a native checkpoint in PyTorch transformers, asked with the tests' cases.

It chooses the adapter and assembles transformers' inputs. Shares no code with the runtime or the exporter.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Phi3ForCausalLM, Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalVisionEmbeddings

from reference.images import PreparedImage, prepare_image
from reference.mel_features import log_mel
from support.cases import AUDIO, IMAGE, Case
from support.checkpoints import CheckpointSpec

FRAMES_PER_ROW = 8
_ATTENTION = {"": "sdpa", "vision_config": "eager", "audio_config": "eager"}


class Oracle:
    """A small native checkpoint with both adapters loaded through PEFT.

    The towers' attention is eager: under SDPA with a full mask the image tower would become causal. Answers are kept,
    since several tests ask for the same ones.
    """

    def __init__(self, spec: CheckpointSpec) -> None:
        self.sizes = spec.sizes
        self.model = Phi4MultimodalForCausalLM.from_pretrained(
            spec.path, attn_implementation=_ATTENTION, dtype=torch.float32
        ).eval()
        self._answers: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._replies: dict[tuple[tuple[int, ...], int], tuple[list[int], NDArray[np.float32]]] = {}
        for adapter in ("vision", "speech"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT warns that a second adapter makes two
                self.model.load_adapter(str(Path(spec.path) / f"{adapter}-lora"), adapter_name=adapter)

    def logits(self, case: Case, adapter: str | None = None) -> NDArray[np.float32]:
        """float32 [S, V], a row per position of the expanded prompt; `adapter` overrides the model's rule."""
        key = (case.name, adapter or case.adapter)
        if key not in self._answers:
            self._answers[key] = self._logits(case, key[1])
        return self._answers[key]

    @torch.inference_mode()
    def _logits(self, case: Case, adapter: str) -> NDArray[np.float32]:
        self._use(adapter)
        images = [self._image(image) for image in case.load_images()]
        mels = [log_mel(samples, rate) for samples, rate in case.load_audio()]
        counts = {
            IMAGE: iter([image.num_rows for image in images]),
            AUDIO: iter([-(-mel.shape[1] // FRAMES_PER_ROW) for mel in mels]),
        }
        ids = [i for token in case.token_ids for i in [token] * (next(counts[token]) if token in counts else 1)]
        inputs = {"input_ids": torch.tensor([ids])} | self._image_inputs(images)
        if len(mels) == 1:
            rows = torch.tensor([ids.count(AUDIO)])
            inputs |= {"audio_input_features": mels[0], "audio_embed_sizes": rows}
        elif mels:
            inputs = {"inputs_embeds": self._splice_audio(ids, mels)}
        return self.model(**inputs, use_cache=False).logits[0].numpy()

    def greedy(self, token_ids: list[int], count: int) -> tuple[list[int], NDArray[np.float32]]:
        """Text continued by `count` tokens, every step a fresh read of the whole sequence.

        Returns:
            The new ids, and float32 [count, V], the logits that chose them.
        """
        key = (tuple(token_ids), count)
        if key not in self._replies:
            self._replies[key] = self._greedy(token_ids, count)
        return self._replies[key]

    @torch.inference_mode()
    def _greedy(self, token_ids: list[int], count: int) -> tuple[list[int], NDArray[np.float32]]:
        self._use("none")
        ids, rows = list(token_ids), []
        for _ in range(count):
            row = self.model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits[0, -1]
            rows.append(row.numpy())
            ids.append(int(row.argmax()))
        return ids[len(token_ids) :], np.stack(rows)

    @torch.inference_mode()
    def position_ids(self, masks: torch.Tensor, side: int) -> NDArray[np.int64]:
        """The tower's own position ids, [N, side * side].

        Args:
            masks: bool [N, side, side].
            side: Patches along one side of a crop; need not be that of the checkpoint.
        """
        config = copy.copy(self.model.config.vision_config)
        config.image_size, config.hidden_size = side * config.patch_size, 1
        embeddings = Phi4MultimodalVisionEmbeddings(config)
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.bias.zero_()
        embeddings.position_embedding.weight[:, 0] = torch.arange(side * side)
        pixels = torch.zeros(len(masks), 3, config.image_size, config.image_size)
        return embeddings(pixels, masks)[..., 0].round().long().numpy()

    def _use(self, adapter: str) -> None:
        if adapter == "none":
            self.model.disable_adapters()
        else:
            self.model.enable_adapters()
            self.model.set_adapter(adapter)

    def _image(self, image: NDArray[np.uint8]) -> PreparedImage:
        sizes = self.sizes
        return prepare_image(image, crop=sizes.crop, patch=sizes.patch, max_crops=sizes.max_crops)

    def _image_inputs(self, images: list[PreparedImage]) -> dict[str, Any]:
        """Several images are padded to the same number of views: zero pixels, masks of ones, as upstream does."""
        if not images:
            return {}
        most = max(len(image.pixels) for image in images)
        pixels, masks = [], []
        for image in images:
            missing = most - len(image.pixels)
            pixels.append(torch.cat([image.pixels, torch.zeros(missing, *image.pixels.shape[1:])]))
            masks.append(torch.cat([image.mask, torch.ones(missing, *image.mask.shape[1:])]))
        return {
            "image_pixel_values": torch.stack(pixels),
            "image_attention_mask": torch.stack(masks),
            "image_sizes": torch.tensor([[image.height, image.width] for image in images]),
        }

    def _splice_audio(self, ids: list[int], mels: list[torch.Tensor]) -> torch.Tensor:
        """Embeddings with each recording encoded alone; upstream's padded batch leaks padding into the shorter."""
        audio = self.model.model.embed_tokens_extend.audio_embed
        rows = []
        for mel in mels:
            hidden = torch.nn.functional.gelu(audio.up_proj_for_speech(audio.encoder(mel, None)))
            rows.append(audio.down_proj_for_speech(hidden)[0])
        embeds = self.model.model.embed_tokens(torch.tensor([ids]))
        embeds[0, torch.tensor(ids) == AUDIO] = torch.cat(rows)
        return embeds


@torch.inference_mode()
def mini_logits(spec: CheckpointSpec, token_ids: list[int]) -> NDArray[np.float32]:
    """float32 [S, V] of a phi3 checkpoint, which is text only."""
    model = Phi3ForCausalLM.from_pretrained(spec.path, attn_implementation="eager", dtype=torch.float32).eval()
    return model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0].numpy()
