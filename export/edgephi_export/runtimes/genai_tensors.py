"""The named tensors that onnxruntime-genai's processor would make of a request, made of edgephi's own features.

The library's processor differs from the reference in small ways (see the README.md of its folders); with these tensors
only the graphs are compared, and an application can read what that processor does not.

    S positions, N images, V views of the one with most, C pixels and P patches along a side
    M recordings, T frames of the longest
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.features import AudioFeatures
from edgephi.bundle.manifest import TokenInfo
from edgephi.images.features import ImageFeatures
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT
from edgephi_export.runtimes.runtime import expanded_ids

Tensors = dict[str, NDArray[Any]]


def request_tensors(
    token_ids: Sequence[int] | NDArray[np.int64],
    images: Sequence[ImageFeatures],
    audio: Sequence[AudioFeatures],
    tokens: TokenInfo,
) -> Tensors:
    """All tensors of a request, by the library's names.

    Args:
        token_ids: The prompt, one slot per image and recording, with the model's own ids.
        images: In the order of their slots.
        audio: Likewise.
        tokens: The model's ids.
    """
    mode = (1 if images else 0) + (2 if audio else 0)
    slots = {tokens.image: IMAGE_SLOT, tokens.audio: AUDIO_SLOT}
    ids = expanded_ids(token_ids, images, audio, tokens)
    made: Tensors = {
        "input_ids": np.array([[slots.get(one, one) for one in ids]], np.int32),
        "audio_projection_mode": np.array([mode], np.int64),
    }
    if images:
        made |= image_tensors(images)
    if audio:
        made |= audio_tensors(audio)
    return made


def image_tensors(images: Sequence[ImageFeatures]) -> Tensors:
    """Pixels float32 [N, V, 3, C, C] and mask float32 [N, V, P, P], filled up with zeros and ones; sizes and rows."""
    views = [image.views for image in images]
    side, patches = views[0].overview.shape[-1], views[0].patch_mask.shape[-1]
    shape = len(views), max(map(len, views))
    pixels = np.zeros((*shape, 3, side, side), np.float32)
    mask = np.ones((*shape, patches, patches), np.float32)
    for number, image in enumerate(views):
        pixels[number, : len(image)] = image.pixels
        mask[number, : len(image)] = image.patch_mask
    return {
        "pixel_values": pixels,
        "image_attention_mask": mask,
        "image_sizes": np.array([(one.tile_rows * side, one.tile_columns * side) for one in views], np.int64),
        "num_image_tokens": np.array([image.num_rows for image in images], np.int64),
    }


def audio_tensors(audio: Sequence[AudioFeatures]) -> Tensors:
    """Features float32 [M, T, mels] filled up with zeros, mask bool [M, T], and rows int64 [M]."""
    longest = max(len(recording.mel) for recording in audio)
    features = np.zeros((len(audio), longest, audio[0].mel.shape[1]), np.float32)
    mask = np.zeros((len(audio), longest), np.bool_)
    for number, recording in enumerate(audio):
        features[number, : len(recording.mel)] = recording.mel
        mask[number, : len(recording.mel)] = True
    return {
        "audio_embeds": features,
        "audio_attention_mask": mask,
        "audio_sizes": np.array([recording.num_rows for recording in audio], np.int64),
    }
