"""Teaches the frozen decoder to read pictures: projector, separators and the vision adapter.

    python -m edgephi_nano.train_vision STATE_DIR --minutes 25

Needs STATE_DIR/language/model.safetensors and STATE_DIR/sight/model.safetensors. First the projector alone learns to
say each labelled cell in the decoder's own words (its token embeddings); then projector and adapter learn to answer.
Writes STATE_DIR/vision/: model.safetensors, vision-lora/, curve.jsonl. Resumable; the learning rate follows the share
of the minutes used up.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from edgephi_nano import adapters
from edgephi_nano.aligning import align_projector
from edgephi_nano.branching import Branch, answer_loss, pack
from edgephi_nano.config import VISION_ADAPTER
from edgephi_nano.modelling import load_language, new_model
from edgephi_nano.optimizing import scale_at
from edgephi_nano.picture_questions import SCENES, answers, pictures
from edgephi_nano.picture_rows import projected_rows, tower_features
from edgephi_nano.pictures import Picture
from edgephi_nano.reading import Words, measure
from edgephi_nano.scenes import compose
from edgephi_nano.sight import CellReader, cell_loss, use_attention
from edgephi_nano.tokenizer import USER
from edgephi_nano.views import cut, picture_labels

SCENE_WEIGHTS = (3, 3, 4, 1.5, 5, 2.5)
IMAGE_EMBED = "model.embed_tokens_extend.image_embed."
TOWER = IMAGE_EMBED + "img_processor."
REPORT_STEPS = 150


class Trainer:
    """Model, optimizer and the time used so far."""

    stage = "vision"
    owned: tuple[str, ...] = (IMAGE_EMBED,)  # tensors this stage writes, by the start of their names
    rates = (5e-4, 1e-3, 0.0)  # of projectors, adapter and image tower; 0 freezes the tower
    cell_weight = 0.3  # of naming cells beside answering, where the tower learns

    def __init__(self, state_dir: Path, minutes: float, batch: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.state_dir, self.out = state_dir, state_dir / self.stage
        self.seconds, self.batch = minutes * 60, batch
        self.out.mkdir(parents=True, exist_ok=True)
        self.rng = random.Random(int(time.time()))
        self.model = new_model()
        load_language(self.model, state_dir / "language" / "model.safetensors")
        adapters.attach(self.model, VISION_ADAPTER)
        self.words = Words(self.model)
        self.image_embed = self.model.model.embed_tokens_extend.image_embed
        use_attention(self.image_embed.img_processor, "light")
        self.reader = CellReader()
        self.reader.load_state_dict(load_file(state_dir / "sight" / "cell_reader.safetensors"))
        self.groups = self.parameter_groups()
        self.optimizer = torch.optim.AdamW(
            [{"params": list(self.groups[i].values()), "lr": rate} for i, rate in enumerate(self.rates)],
            betas=(0.9, 0.98), weight_decay=0.0,
        )  # fmt: skip
        self.step, self.used_s = 0, 0.0
        self.waiting: list[list[Picture]] = []
        self.cases = list(pictures(100, seed=1))
        if (path := self.out / "resume.pt").exists():
            self.load(torch.load(path, weights_only=True))
        else:
            self.start()

    def parameter_groups(self) -> tuple[dict[str, nn.Parameter], ...]:
        """Trained parameters by name: projectors and separators, adapter, image tower. All others are frozen."""
        named = {n: p for n, p in self.model.named_parameters() if n.startswith(self.owned)}
        tower = {n: p for n, p in named.items() if n.startswith(TOWER)}
        adapter = {n: p for n, p in self.model.named_parameters() if "lora_" in n}
        bridge = {n: p for n, p in named.items() if n not in tower}
        for name, parameter in self.model.named_parameters():
            trained = name in bridge or name in adapter or (name in tower and self.rates[2] > 0)
            parameter.requires_grad_(trained)
        return bridge, adapter, tower | dict(self.reader.named_parameters())

    def start(self) -> None:
        """Begin from the pretrained tower and align the projector."""
        self.model.load_state_dict(load_file(self.state_dir / "sight" / "model.safetensors"), strict=False)
        unexplained = align_projector(self.image_embed, self.words.table.weight, self.words.tokenizer)
        self.log({"step": 0, "alignment_loss": unexplained})

    def parts(self) -> dict[str, torch.Tensor]:
        """The tensors this stage writes, by their checkpoint names."""
        return {n: t.detach().contiguous() for n, t in self.model.state_dict().items() if n.startswith(self.owned)}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state["parts"], strict=False)
        adapters.load_adapter_state(self.model, state["adapter"])
        self.reader.load_state_dict(state["reader"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.used_s = state["step"], state["used_s"]

    def save(self) -> None:
        """Write the state to resume from, and the parts of the checkpoint."""
        state = {"parts": self.parts(), "adapter": adapters.adapter_state(self.model), "step": self.step}
        state |= {"used_s": self.used_s, "optimizer": self.optimizer.state_dict(), "reader": self.reader.state_dict()}
        torch.save(state, self.out / "resume.tmp")
        (self.out / "resume.tmp").replace(self.out / "resume.pt")
        save_file(self.parts(), self.out / "model.safetensors")
        adapters.save_adapter(self.model, VISION_ADAPTER, self.out / "vision-lora")

    def log(self, record: dict[str, Any]) -> None:
        """One line to the log and to the curve."""
        print(json.dumps(record), flush=True)
        with (self.out / "curve.jsonl").open("a", encoding="utf-8") as curve:
            curve.write(json.dumps(record) + "\n")

    def next_pictures(self) -> list[Picture]:
        """A batch of pictures of similar size, so that little is padding."""
        if not self.waiting:
            drawn = [compose(self.rng, scene) for scene in self.rng.choices(SCENES, SCENE_WEIGHTS, k=4 * self.batch)]
            drawn.sort(key=lambda p: p.image.width * p.image.height)
            self.waiting = [drawn[i : i + self.batch] for i in range(0, len(drawn), self.batch)]
            self.rng.shuffle(self.waiting)
        return self.waiting.pop()

    def draw_branches(self, picture: Picture) -> list[Branch]:
        """Every question that fits a picture, in writing."""
        return [self.words.written(self.rng, kind, answer) for kind, answer in answers(picture).items()]

    def losses(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """On new pictures with their questions: loss of the answers, loss of the cells, share of right tokens."""
        drawn = self.next_pictures()
        views = [cut(picture.image) for picture in drawn]
        with torch.set_grad_enabled(self.rates[2] > 0):
            features = tower_features(views, self.image_embed)
            labels = torch.from_numpy(np.concatenate([picture_labels(picture) for picture in drawn]))
            logits = {name: cells.float() for name, cells in self.reader(torch.cat(features)).items()}
            cells = cell_loss(logits, labels, empty_weight=1.0)
        start = self.words.embed(USER)
        prefixes = [torch.cat((start, rows)) for rows in projected_rows(features, views, self.image_embed)]
        answered, right = answer_loss(self.model, pack(prefixes, [self.draw_branches(picture) for picture in drawn]))
        return answered, cells, right

    def train_step(self) -> tuple[float, float, float]:
        """One step; returns loss of the answers, loss of the cells, share of right tokens."""
        scale = min(1.0, (self.step + 1) / 60) * scale_at(self.used_s / self.seconds, 0.0)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale
        with torch.autocast("cpu", torch.bfloat16):
            answered, cells, right = self.losses()
        (answered + self.cell_weight * cells if self.rates[2] > 0 else answered).backward()
        nn.utils.clip_grad_norm_([p for group in self.groups for p in group.values()], 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return answered.item(), cells.item(), right

    def measure(self) -> dict[str, float]:
        """Exact answers to held-out questions."""
        return measure(self.model, self.words, self.cases)

    def run(self) -> None:
        """Train, log and save until the minutes are used up."""
        seen: list[tuple[float, float, float]] = []
        while self.used_s < self.seconds:
            start = time.monotonic()
            seen.append(self.train_step())
            self.step += 1
            self.used_s += time.monotonic() - start
            if self.step % REPORT_STEPS == 0 or self.used_s >= self.seconds:
                means = [round(sum(part) / len(seen), 4) for part in zip(*seen, strict=True)]
                record = {"step": self.step, "used_s": round(self.used_s)}
                self.log(record | dict(zip(("loss", "cell_loss", "tokens"), means, strict=True)) | self.measure())
                self.save()
                seen = []
        self.save()
        (self.out / "DONE").write_text("final\n", encoding="utf-8")


def arguments(description: str | None, minutes: float, *, audio: bool = False) -> argparse.Namespace:
    """What both picture stages take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--batch", type=int, default=14, help="pictures per step")
    if audio:
        parser.add_argument("--audio", type=Path, required=True, help="safetensors file with the audio tower")
    return parser.parse_args()


def main() -> None:
    """Run the stage."""
    given = arguments(__doc__, 25.0)
    Trainer(given.state_dir, given.minutes, given.batch).run()


if __name__ == "__main__":
    main()
