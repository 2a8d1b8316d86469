"""README.md of a folder for onnxruntime-genai: how to run it there, and what that runtime does not do."""

from __future__ import annotations

from collections.abc import Iterator

from edgephi_export.layouts.layout import FolderDescription

_TEXT_CODE = """
```python
import onnxruntime_genai as og

model = og.Model("FOLDER")
tokenizer = og.Tokenizer(model)
params = og.GeneratorParams(model)
params.set_search_options(max_length=1024)
generator = og.Generator(model, params)
generator.append_tokens(tokenizer.encode("<|user|>Hello<|end|><|assistant|>"))
stream = tokenizer.create_stream()
while not generator.is_done():
    generator.generate_next_token()
    print(stream.decode(generator.get_next_tokens()[0]), end="", flush=True)
```
"""
_MEDIA_CODE = """
```python
import onnxruntime_genai as og

model = og.Model("FOLDER")
processor = model.create_multimodal_processor()
prompt = "<|user|>{tags}{question}<|end|><|assistant|>"
inputs = processor(prompt, {arguments})
params = og.GeneratorParams(model)
params.set_search_options(max_length=4096)
generator = og.Generator(model, params)
generator.set_inputs(inputs)
stream = processor.create_stream()
while not generator.is_done():
    generator.generate_next_token()
    print(stream.decode(generator.get_next_tokens()[0]), end="", flush=True)
```

C, C# and Java have the same calls: `OgaProcessorProcessImagesAndAudios` and `OgaGenerator_SetInputs`,
`MultiModalProcessor.ProcessImagesAndAudios` and `Generator.SetInputs`,
`MultiModalProcessor.processImagesAndAudios` and `Generator.setInputs`.
"""
_LIMITS = """
- `max_length` is 4096 unless set: that many positions of the float32 cache are taken when a generator is made, 256 KiB
  each in the public model. The prompt counts too, media included.
- A sequence that grows beyond 4096 positions behind cached tokens is refused: append all of it at once to a new
  generator.
- One sequence per generator where adapters are chosen per request.
- onnxruntime-genai 0.15 and later send telemetry unless the environment variable `ORT_DISABLE_TELEMETRY` is 1.
"""
_MEDIA_LIMITS = """
- Tags `<|image_1|>`, `<|audio_1|>` are taken in order, whatever their numbers; there must be as many as files.
- Media only at the start: `set_inputs` once per generator. A new image or recording needs a new generator and the whole
  conversation.
- A further turn of text: `append_tokens` with the id of `<|end|>` and the turn, after a reply that ended by itself; do
  not call `get_logits` before it. After a reply that `max_length` cut off, call `get_logits` once first.
- Every graph is loaded for every request.
"""
_IMAGE_LIMITS = """
- Images are PNG or JPEG in RGB. **WebP and BMP end the whole process**, which nothing can catch: convert them first.
  CMYK is refused. Orientation marks (EXIF) and transparency are ignored.
- An image of a common size may be scaled to one row of pixels less than the model was trained on (1280x720, 2560x1440).
- Only crops of 448 pixels are cut right by the library's processor. A model with others needs tensors made by hand
  (`og.NamedTensors`).
- Each crop takes as long as the whole of a small image: `--max-crops` of the export bounds them.
"""
_AUDIO_LIMITS = """
- Recordings are WAV, FLAC or MP3, mono or stereo, of 8 kHz or more. **More than two channels give nonsense** without an
  error: mix them first. Others are refused.
- Recordings of any length are read whole: `max_samples` in speech_processor.json is 0 for that. Without that key the
  library drops all after 30 s and says nothing.
"""


def usage(described: FolderDescription) -> tuple[str, ...]:
    """Lines of Markdown."""
    return tuple("\n\n".join(part.strip("\n") for part in _parts(described)).splitlines())


def _parts(described: FolderDescription) -> Iterator[str]:
    takes, mode = described.modalities, described.adapters.mode
    yield "Runs with onnxruntime-genai 0.18, and with 0.14 or later:"
    if takes == ("text",):
        yield _TEXT_CODE
        yield "Limits:"
        yield _LIMITS
        return
    yield _MEDIA_CODE.format(**_example(takes))
    yield _ADAPTERS[mode]
    limits = [_LIMITS, _MEDIA_LIMITS]
    limits += [text for name, text in (("vision", _IMAGE_LIMITS), ("speech", _AUDIO_LIMITS)) if name in takes]
    yield "Limits:"
    yield "\n".join(text.strip("\n") for text in limits)


_ADAPTERS = {
    "routed": "The adapter that a request needs is chosen inside model.onnx: vision where the prompt holds an image, "
    "speech where\nit holds audio alone, none for text. No adapter file is to be activated.",
    "vision": "The vision adapter is merged into the weights: every prompt needs an image.",
    "speech": "The speech adapter is merged into the weights: every prompt needs audio.",
}


def _example(takes: tuple[str, ...]) -> dict[str, str]:
    if "vision" not in takes:
        return {
            "tags": "<|audio_1|>",
            "question": "Transcribe the audio clip into text.",
            "arguments": 'audios=og.Audios.open("recording.wav")',
        }
    arguments = 'images=og.Images.open("photo.png")'
    return {"tags": "<|image_1|>", "question": "What is shown?", "arguments": arguments}
