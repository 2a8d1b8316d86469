"""Pretrains the image tower: say for every pooled cell which glyph, shape or bar has its centre there.

    python -m edgephi_nano.train_sight STATE_DIR --minutes 53

Writes STATE_DIR/sight/: model.safetensors, cell_reader.safetensors and curve.jsonl. Resumable.
The learning rate follows the share of the minutes used up.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgephi_nano.scenes import compose, crowd
from edgephi_nano.sight import CellReader, build_tower, cell_loss, pooled_features, use_attention
from edgephi_nano.views import HEADS, training_view

SCENES = ("crowd", "word", "letters", "number", "shape", "labelled", "bars")
TOWER = "model.embed_tokens_extend.image_embed.img_processor."
TEST_WEIGHTS = (1, 2, 1, 2, 1, 1, 1)
Batch = tuple[Tensor, Tensor, Tensor]


def sample_batch(
    rng: random.Random, size: int, weights: tuple[float, ...], fonts: int, *, held_out: bool = False
) -> Batch:
    """float32 [N, 3, 168, 168] views, bool [N, 12, 12] masks, int64 [N, heads, 36] labels."""
    items = []
    for scene in rng.choices(SCENES, weights, k=size):
        picture = crowd(rng, fonts) if scene == "crowd" else compose(rng, scene, held_out=held_out, fonts=fonts)
        items.append(training_view(rng, picture))
    views, masks, labels = (torch.from_numpy(np.stack(part)) for part in zip(*items, strict=True))
    return views, masks, labels


@torch.no_grad()
def evaluate(tower: nn.Module, reader: CellReader, batches: list[Batch]) -> dict[str, float]:
    """Share of right cells per head (cells that show something) and of empty cells called empty."""
    right: dict[str, list[int]] = {}
    for views, masks, labels in batches:
        with torch.autocast("cpu", torch.bfloat16):
            logits = reader(pooled_features(tower, views, masks))
        for i, name in enumerate(HEADS):
            hit = logits[name].argmax(-1) == labels[:, i]
            shown = labels[:, i] > 0 if name in ("glyph", "kind") else labels[:, i] >= 0
            for key, cells in ((name, shown), (f"{name}_empty", (labels[:, i] == 0) & (name in ("glyph", "kind")))):
                entry = right.setdefault(key, [0, 0])
                entry[0] += int(hit[cells].sum())
                entry[1] += int(cells.sum())
    return {name: round(a / b, 4) for name, (a, b) in right.items() if b}


def make_optimizers(tower: nn.Module, reader: CellReader) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else."""
    matrices = [p for n, p in tower.named_parameters() if "encoder.layers" in n and p.ndim == 2 and ".5." not in n]
    inside = {id(p) for p in matrices}
    others = [p for p in tower.parameters() if id(p) not in inside] + list(reader.parameters())
    return [
        torch.optim.Muon(matrices, lr=2.5e-3, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=2e-3, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def schedule(used: float, step: int) -> float:
    """Factor of the learning rate: short warm-up, flat, then linear to 2 % over the last 45 % of the time."""
    return min(1.0, (step + 1) / 150) * min(1.0, max(0.02, (1 - used) / 0.45))


class Trainer:
    """Tower, heads, optimizers and the time used so far."""

    def __init__(self, out: Path, minutes: float, batch: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.out, self.seconds, self.batch = out, minutes * 60, batch
        out.mkdir(parents=True, exist_ok=True)
        self.rng = random.Random(int(time.time()))
        self.tower = build_tower(sample_batch(random.Random(1), 200, (3, 1, 1, 1, 1, 1, 1), 4)[0])
        use_attention(self.tower, "light")
        self.reader = CellReader()
        self.optimizers = make_optimizers(self.tower, self.reader)
        self.step, self.used_s = 0, 0.0
        self.held_out = [sample_batch(random.Random(99 + i), 64, TEST_WEIGHTS, 6, held_out=True) for i in range(5)]
        if (path := out / "resume.pt").exists():
            self.load(torch.load(path, weights_only=True))

    def load(self, state: dict[str, object]) -> None:
        """Continue from a saved state."""
        self.tower.load_state_dict(state["tower"])
        self.reader.load_state_dict(state["reader"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.used_s = state["step"], state["used_s"]

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state = {"tower": self.tower.state_dict(), "reader": self.reader.state_dict(), "step": self.step}
        state |= {"used_s": self.used_s, "optimizers": [o.state_dict() for o in self.optimizers]}
        torch.save(state, self.out / "resume.tmp")
        (self.out / "resume.tmp").replace(self.out / "resume.pt")
        tensors = {TOWER + n: t.contiguous() for n, t in self.tower.state_dict().items()}
        save_file(tensors, self.out / "model.safetensors")
        save_file(self.reader.state_dict(), self.out / "cell_reader.safetensors")

    def train_step(self) -> float:
        """One step; returns the loss."""
        used = self.used_s / self.seconds
        weights = (6.0 if used < 0.5 else 3.0, 1.5, 1.5, 1.5, 0.7, 1, 1)
        batch = sample_batch(self.rng, self.batch, weights, fonts=2 if used < 0.1 else 4 if used < 0.2 else 6)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("peak", group["lr"]) * schedule(used, self.step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.reader(pooled_features(self.tower, batch[0], batch[1]))
        loss = cell_loss({k: v.float() for k, v in logits.items()}, batch[2])
        loss.backward()
        nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    def run(self) -> None:
        """Train, log and save."""
        losses: list[float] = []
        last_save = time.monotonic()
        while self.used_s < self.seconds:
            start = time.monotonic()
            losses.append(self.train_step())
            self.step += 1
            self.used_s += time.monotonic() - start
            if self.step % 250 == 0:
                record = {"step": self.step, "used_s": round(self.used_s), "loss": round(sum(losses) / len(losses), 4)}
                record |= evaluate(self.tower, self.reader, self.held_out)
                print(json.dumps(record), flush=True)
                with (self.out / "curve.jsonl").open("a") as curve:
                    curve.write(json.dumps(record) + "\n")
                losses = []
            if time.monotonic() - last_save > 120:
                self.save()
                last_save = time.monotonic()
        self.save()


def main() -> None:
    """Train until the minutes are used up; save tower and reader every two minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=53.0)
    parser.add_argument("--batch", type=int, default=32, help="views per step")
    options = parser.parse_args()
    Trainer(options.state_dir / "sight", options.minutes, options.batch).run()


if __name__ == "__main__":
    main()
