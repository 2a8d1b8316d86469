"""Counts exact answers to held-out questions about pictures in PyTorch, written and spoken, and with the adapter off.

    python -m edgephi_nano.check_pictures STATE_DIR [--audio FILE] [--cases 400] [--show 10]

Reads the decoder from STATE_DIR/language and the rest from STATE_DIR/spoken_questions, or from STATE_DIR/vision where
the former does not exist. Spoken questions need the audio tower: --audio FILE. Prints one JSON object per set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from edgephi_nano import adapters
from edgephi_nano.config import VISION_ADAPTER
from edgephi_nano.modelling import load_language, new_model
from edgephi_nano.picture_questions import PictureCase, pictures, spoken_questions
from edgephi_nano.reading import Words, answer_cases
from edgephi_nano.sight import use_attention


def load_trained(state_dir: Path, audio: Path | None) -> nn.Module:
    """The trained parts in one model, rounded to bfloat16 as the checkpoint holds them."""
    model = new_model()
    load_language(model, state_dir / "language" / "model.safetensors")
    last = state_dir / "spoken_questions"
    folder = last if (last / "model.safetensors").exists() else state_dir / "vision"
    for path in (audio, folder / "model.safetensors"):
        if path is not None:
            model.load_state_dict(load_file(path), strict=False)
    adapters.attach(model, VISION_ADAPTER)
    adapters.load_adapter(model, folder / "vision-lora")
    use_attention(model.model.embed_tokens_extend.image_embed.img_processor, "eager")
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model.eval()


def report(name: str, model: nn.Module, cases: Sequence[PictureCase], show: int) -> None:
    """Print the shares of exact answers, in all, per question and per scene, and some wrong ones."""
    hits: dict[str, list[bool]] = {"exact": []}
    wrong = []
    for case, answer in zip(cases, answer_cases(model, Words(model), cases), strict=True):
        for key in ("exact", f"question {case.question}", f"scene {case.scene}"):
            hits.setdefault(key, []).append(answer == case.answer)
        if answer != case.answer:
            wrong.append(f"{case.image.width}x{case.image.height} {case.scene}: {case.answer} read as {answer}")
    shares = {key: round(sum(found) / len(found), 4) for key, found in sorted(hits.items())}
    print(json.dumps({"set": name, "cases": len(cases), **shares, "wrong": wrong[:show]}), flush=True)


def main() -> None:
    """Measure every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--audio", type=Path, help="safetensors file with the audio tower")
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--show", type=int, default=10, help="wrong answers to print per set")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_trained(given.state_dir, given.audio)
    report("pictures", model, list(pictures(given.cases, seed=2)), given.show)
    if given.audio is not None:
        for voices in ("known", "unseen"):
            cases = list(spoken_questions(given.cases, seed=2, voices=voices))
            report(f"spoken questions, {voices} voices", model, cases, given.show)
    adapters.switch(model, on=False)
    report("pictures, adapter off", model, list(pictures(given.cases, seed=2)), given.show)


if __name__ == "__main__":
    main()
