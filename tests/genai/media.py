"""Requests with media: as edgephi's features for both sides, and as onnxruntime-genai's own processor reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from edgephi import Model
from edgephi.audio.features import AudioFeatures
from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.decoding import load_image
from edgephi.images.features import ImageFeatures
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT
from edgephi_export.runtimes.genai import greedy
from edgephi_export.runtimes.runtime import RuntimeRequest
from genai.conftest import MediaPair

SAMPLES = Path(__file__).parents[2] / "nano" / "samples"
TRANSCRIBE = "Transcribe the audio clip into text."
MOST_TOKENS = 16
_SPELLED = {"<|image_1|>": "<|endoftext10|>", "<|audio_1|>": "<|endoftext11|>"}


def turn(text: str) -> str:
    return f"<|user|>{text}<|end|><|assistant|>"


def ids_of(pair: MediaPair, text: str) -> list[int]:
    """The model's own ids of a prompt, one slot per tag."""
    for tag, slot in _SPELLED.items():
        text = text.replace(tag, slot)
    tokens = pair.edgephi.manifest.tokens
    own = {IMAGE_SLOT: tokens.image, AUDIO_SLOT: tokens.audio}
    tokenizer = Tokenizer.from_file(str(pair.folder / "tokenizer.json"))
    return [own.get(token, token) or 0 for token in tokenizer.encode(text, add_special_tokens=False).ids]


def image_of(model: Model, source: Path | Image.Image) -> ImageFeatures:
    info = model.manifest.vision
    assert info is not None
    image = load_image(source) if isinstance(source, Path) else source
    views = split_views(image, crop_size=info.crop_size, patch_size=info.patch_size, max_crops=info.max_crops)
    return ImageFeatures(views, num_image_rows(views))


def audio_read_by(inputs: Any) -> list[AudioFeatures]:
    """The recordings of the library's processor, each without what fills it up."""
    features, masks = (np.array(inputs[name].as_numpy()) for name in ("audio_embeds", "audio_attention_mask"))
    lengths = [int(mask.sum()) for mask in masks]
    return [
        AudioFeatures(np.ascontiguousarray(mel[:length], np.float32), -(-length // 8))
        for mel, length in zip(features, lengths, strict=True)
    ]


def request_of(pair: MediaPair, ids: Sequence[int], images: Any = (), audio: Any = ()) -> RuntimeRequest:
    return RuntimeRequest(
        token_ids=tuple(ids), images=tuple(images), audio=tuple(audio), tokens=pair.edgephi.manifest.tokens,
        max_new_tokens=MOST_TOKENS,
    )  # fmt: skip


def ours(pair: MediaPair, ids: Sequence[int], images: Any = (), audio: Any = ()) -> tuple[NDArray[Any], list[int]]:
    """First logits and greedy tokens of edgephi, each token from the whole sequence."""
    model, tokens = pair.edgephi, list[int]()
    first = logits = model.logits(ids, images=images, audio=audio)
    while not set(tokens) & set(model.manifest.tokens.eos) and len(tokens) < MOST_TOKENS:
        tokens.append(int(logits.argmax()))
        logits = model.logits([*ids, *tokens], images=images, audio=audio)
    return first, tokens


def generator_of(pair: MediaPair, max_length: int = 2048) -> Any:
    parameters = pair.genai.library.GeneratorParams(pair.genai.model)
    parameters.set_search_options(do_sample=False, max_length=max_length)
    return pair.genai.library.Generator(pair.genai.model, parameters)


def theirs(pair: MediaPair, inputs: Any) -> tuple[NDArray[Any], list[int]]:
    """The same of onnxruntime-genai on what its processor gave."""
    generator = generator_of(pair)
    generator.set_inputs(inputs)
    logits = np.array(generator.get_logits()).reshape(-1).copy()
    return logits, list(greedy(generator, MOST_TOKENS))


def deviation(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """The largest difference in standard deviations."""
    return float(np.abs(expected - got).max() / expected.std())
