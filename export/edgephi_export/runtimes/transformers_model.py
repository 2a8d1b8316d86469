"""A checkpoint in PyTorch transformers, adapters by PEFT: what every export is an export of."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi_export.checkpoint.config import CheckpointLayout
from edgephi_export.runtimes.genai_tensors import audio_tensors, image_tensors
from edgephi_export.runtimes.runtime import RuntimeReply, RuntimeRequest, expanded_ids, one_line

#: Of the weights in memory; `auto` is as the checkpoint stores them.
Precision = Literal["auto", "float32", "bfloat16"]
#: Under SDPA with a full mask the image tower would become causal.
_ATTENTION = {"": "sdpa", "vision_config": "eager", "audio_config": "eager"}
_CLASSES = {"phi3": "Phi3ForCausalLM", "phi4_multimodal": "Phi4MultimodalForCausalLM"}


class TransformersModel:
    """A loaded checkpoint, one request at a time, on the CPU.

    Args:
        folder: The checkpoint.
        layout: Its layout.
        precision: Of its weights.
        threads: Of PyTorch; None for its own number.

    Attributes:
        version: Of transformers and PyTorch.

    Raises:
        ConfigError: The layout needs program code of the checkpoint's own.
        ArtifactError: transformers refuses it.
        EdgeError: It is not installed.
    """

    def __init__(
        self, folder: Path, layout: CheckpointLayout, precision: Precision = "auto", threads: int | None = None
    ) -> None:
        if layout not in _CLASSES:
            raise ConfigError(
                f"{folder}: transformers runs layout {layout} only by the checkpoint's own program code; give the "
                "layout of transformers itself, such as revision refs/pr/70 of microsoft/Phi-4-multimodal-instruct"
            )
        self._torch, library = _library("torch"), _library("transformers")
        self.version = f"{library.__version__}, torch {self._torch.__version__}"
        if threads is not None:
            self._torch.set_num_threads(threads)
        self._has_adapters = layout == "phi4_multimodal"
        attention = {"attn_implementation": _ATTENTION} if self._has_adapters else {}
        try:
            self._model: Any = getattr(library, _CLASSES[layout]).from_pretrained(
                str(folder), dtype=precision, local_files_only=True, **attention
            )
        except Exception as error:  # the library raises whatever the parts below it raise
            raise ArtifactError(f"{folder}: transformers does not load it ({one_line(error)})") from error
        self._model.eval()
        self._cache = library.DynamicCache
        for adapter in ("vision", "speech") if self._has_adapters else ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT warns that a second adapter makes two
                self._model.load_adapter(str(folder / f"{adapter}-lora"), adapter_name=adapter)

    def reply(self, request: RuntimeRequest, *, adapters: bool = True) -> RuntimeReply:
        """Answer greedily.

        Args:
            request: The prompt.
            adapters: Whether the model's rule chooses one; else none is on.

        Raises:
            EdgeError: transformers fails.
        """
        try:
            with self._torch.inference_mode():
                self._switch(request, adapters)
                return self._greedy(request)
        except Exception as error:
            raise EdgeError(f"transformers cannot answer ({one_line(error)})") from error

    def _switch(self, request: RuntimeRequest, adapters: bool) -> None:
        if not self._has_adapters:
            return
        if adapters and (request.images or request.audio):
            self._model.enable_adapters()
            self._model.set_adapter("vision" if request.images else "speech")
        else:
            self._model.disable_adapters()

    def _greedy(self, request: RuntimeRequest) -> RuntimeReply:
        prompt = expanded_ids(request.token_ids, request.images, request.audio, request.tokens)
        ids, inputs = self._torch.tensor([prompt]), self._media(request)
        cache, tokens, first = self._cache(), list[int](), None
        while len(tokens) < request.max_new_tokens and not set(tokens[-1:]) & set(request.tokens.eos):
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **inputs)
            logits = output.logits[0, -1].float()
            first = logits.numpy() if first is None else first
            tokens.append(int(logits.argmax()))
            ids, inputs = self._torch.tensor([tokens[-1:]]), {}
        return RuntimeReply(logits=np.array(first, np.float32), token_ids=tuple(tokens))

    def _media(self, request: RuntimeRequest) -> dict[str, Any]:
        """Keyword arguments of the model: images and recordings are filled up to the longest, as its processor does."""
        given: dict[str, Any] = {}
        if request.images:
            made = image_tensors(request.images)
            given |= {"image_pixel_values": made["pixel_values"], "image_sizes": made["image_sizes"]}
            given["image_attention_mask"] = made["image_attention_mask"]
        if request.audio:
            made = audio_tensors(request.audio)
            given |= {"audio_input_features": made["audio_embeds"], "audio_embed_sizes": made["audio_sizes"]}
            if len(request.audio) > 1:
                given["audio_attention_mask"] = made["audio_attention_mask"]
        tensors = {name: self._torch.from_numpy(values) for name, values in given.items()}
        return {n: one.to(self._model.dtype) if one.is_floating_point() else one for n, one in tensors.items()}


def _library(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the packages that it imports
            return importlib.import_module(name)
    except ImportError as error:
        raise EdgeError(f'{name} is not installed ({error}); run: pip install "edgephi[reference]"') from error
