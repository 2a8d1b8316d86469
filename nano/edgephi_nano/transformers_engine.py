"""The demo checkpoint through transformers and PEFT, as anyone would load it.

The picture and sound rules are the runtime's, whose own tests compare
them with the reference; everything after them is PyTorch.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
import torch
import transformers
from PIL import Image
from transformers import DynamicCache, Phi4MultimodalForCausalLM

from edgephi.audio.decoding import Waveform, log_mel
from edgephi.images.crops import num_image_rows, split_views
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item, Media
from edgephi_evaluate.runs.identity import EngineIdentity
from edgephi_nano.config import vision_config
from edgephi_nano.questions import MOST_NEW_TOKENS, Question
from edgephi_nano.tokenizer import ASSISTANT, AUDIO_SLOT, END, END_OF_TEXT, IMAGE_SLOT, build_tokenizer, special_id

_MAX_CROPS = 36
_FRAMES_PER_ROW = 8
# Under SDPA with a full mask the image tower would become causal.
_ATTENTION = {"": "sdpa", "vision_config": "eager", "audio_config": "eager"}


class TransformersEngine:
    """float32 PyTorch on one request at a time, greedy."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._tokenizer = build_tokenizer()
        self._stops = {special_id(END), special_id(END_OF_TEXT)}

    def __enter__(self) -> Self:
        self._model = Phi4MultimodalForCausalLM.from_pretrained(
            self._checkpoint, attn_implementation=_ATTENTION, dtype=torch.float32
        ).eval()
        for adapter in ("vision", "speech"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT warns that a second adapter makes two
                self._model.load_adapter(str(self._checkpoint / f"{adapter}-lora"), adapter_name=adapter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._model

    def asked(self) -> Self:
        """See Engine: it answers items itself."""
        return self

    @property
    def identity(self) -> EngineIdentity:
        """See Engine of `edgephi evaluate`."""
        version = f"{transformers.__version__}, torch {torch.__version__}"
        return EngineIdentity(name="transformers", version=version, model=str(self._checkpoint))

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine of `edgephi evaluate`."""
        began_s = time.perf_counter()
        text = self._reply(_question(item), rules.adapter)
        return Answer(text=text, marked_text=text, seconds=Seconds(total=time.perf_counter() - began_s))

    @torch.inference_mode()
    def _reply(self, question: Question, adapter: str) -> str:
        self._switch(question, adapter)
        prompt, inputs = question.prompt, {}
        if question.image is not None:
            rows, image_inputs = _image_inputs(question)
            prompt, inputs = prompt.replace("<|image_1|>", IMAGE_SLOT * rows), inputs | image_inputs
        if question.samples is not None:
            mel = log_mel(Waveform(question.samples))
            rows = -(-len(mel) // _FRAMES_PER_ROW)
            prompt = prompt.replace("<|audio_1|>", AUDIO_SLOT * rows)
            inputs |= {"audio_input_features": torch.from_numpy(mel)[None], "audio_embed_sizes": torch.tensor([rows])}
        return self._greedy(self._tokenizer.encode(prompt).ids, inputs)

    def _switch(self, question: Question, adapter: str) -> None:
        has_media = question.image is not None or question.samples is not None
        if adapter == "none" or not has_media:
            self._model.disable_adapters()
        else:
            self._model.enable_adapters()
            self._model.set_adapter("vision" if question.image is not None else "speech")

    def _greedy(self, prompt_ids: list[int], inputs: dict[str, Any]) -> str:
        cache, ids = DynamicCache(), torch.tensor([prompt_ids])
        answer: list[int] = []
        for _ in range(MOST_NEW_TOKENS):
            logits = self._model(
                input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **inputs
            ).logits
            token_id = int(logits[0, -1].argmax())
            if token_id in self._stops:
                break
            answer.append(token_id)
            ids, inputs = torch.tensor([[token_id]]), {}
        return self._tokenizer.decode(answer, skip_special_tokens=False)


def _question(item: Item) -> Question:
    """The prompt that the chat template makes of an item, and its media."""
    prompt = ""
    for turn in item.turns:
        tools = "" if turn.tools is None else f"<|tool|>{turn.tools}<|/tool|>"
        tags = "<|image_1|>" * len(item.images) + "<|audio_1|>" * len(item.audio) if turn is item.turns[-1] else ""
        prompt += f"<|{turn.role}|>{tags}{turn.text}{tools}{END}"
    return Question(
        prompt=prompt + ASSISTANT,
        answer=item.answers[0],
        image=Image.open(_path(item.images[0])).convert("RGB") if item.images else None,
        samples=soundfile.read(_path(item.audio[0]), dtype="float32")[0] if item.audio else None,
    )


def _path(media: Media) -> str:
    source = media.read()
    assert isinstance(source, str)  # nano's items have files
    return source


def _image_inputs(question: Question) -> tuple[int, dict[str, Any]]:
    """Rows the picture becomes, and the model's arguments for it."""
    sizes = vision_config()
    views = split_views(
        question.image, crop_size=sizes["crop_size"], patch_size=sizes["patch_size"], max_crops=_MAX_CROPS
    )
    size = np.array([views.tile_rows, views.tile_columns]) * sizes["crop_size"]
    return num_image_rows(views), {
        "image_pixel_values": torch.from_numpy(np.ascontiguousarray(views.pixels))[None],
        "image_attention_mask": torch.from_numpy(np.ascontiguousarray(views.patch_mask))[None],
        "image_sizes": torch.from_numpy(size)[None],
    }
