"""Asks a folder of `edgephi export --layout genai` about images and recordings, with onnxruntime-genai alone.

python ask.py FOLDER QUESTION [IMAGE.png ...] [RECORDING.wav ...]
"""

from __future__ import annotations

import sys

import onnxruntime_genai as og


def main(folder: str, question: str, *files: str) -> None:
    """Print the answer as it is made."""
    images = [file for file in files if file.lower().endswith((".png", ".jpg", ".jpeg"))]
    audio = [file for file in files if file not in images]
    tags = [f"<|image_{n}|>" for n, _ in enumerate(images, 1)] + [f"<|audio_{n}|>" for n, _ in enumerate(audio, 1)]
    media = {}
    if images:
        media["images"] = og.Images.open(*images)
    if audio:
        media["audios"] = og.Audios.open(*audio)
    model = og.Model(folder)
    processor = model.create_multimodal_processor()
    inputs = processor(f"<|user|>{''.join(tags)}{question}<|end|><|assistant|>", **media)
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=4096)
    generator = og.Generator(model, parameters)
    generator.set_inputs(inputs)
    stream = processor.create_stream()
    while not generator.is_done():
        generator.generate_next_token()
        print(stream.decode(generator.get_next_tokens()[0]), end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
