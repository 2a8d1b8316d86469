"""Stage 1: train the language model on written tasks; afterwards it is never changed again.

    python -m edgephi_nano.train_language STATE_DIR [--minutes 25]

Writes STATE_DIR/language/model.safetensors (bfloat16 values) and a curve; resumes from its last save.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import Phi4MultimodalForCausalLM

from edgephi_nano.answering import answer_texts
from edgephi_nano.modelling import language_state, new_model
from edgephi_nano.optimizing import Optimizers, scale_at
from edgephi_nano.reporting import report
from edgephi_nano.text_tasks import Task, any_task
from edgephi_nano.tokenizer import END, build_tokenizer

IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageOptions:
    """How stage 1 runs. Rates are the peaks of a warm-up and cosine decay over `minutes`."""

    minutes: float = 25.0
    batch: int = 12
    length: int = 256
    matrix_rate: float = 4e-3
    vector_rate: float = 1.5e-3
    warmup: float = 0.02
    copy_until: float = 0.12
    grow_until: float = 0.4
    save_every_s: float = 120.0
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How hard the tasks are at one point of the training."""

    longest: int
    only_copying: bool
    separate: bool


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Packed exchanges.

    Attributes:
        ids: int64 [B, S] token ids.
        wanted: int64 [B, S], equal to `ids` where an answer is given, IGNORED elsewhere.
        visible: bool [B, 1, S, S], what each position may attend to; None for everything before it.
    """

    ids: torch.Tensor
    wanted: torch.Tensor
    visible: torch.Tensor | None


def pack(
    rng: random.Random, tokenizer: Tokenizer, length: int, lesson: Lesson
) -> tuple[list[int], list[int], list[int]]:
    """Exchanges one after the other, cut at `length`: token ids, wanted ids, number of the exchange."""
    ids: list[int] = []
    wanted: list[int] = []
    exchanges: list[int] = []
    while len(ids) < length:
        task = any_task(rng, lesson.longest, only_copying=lesson.only_copying)
        prompt, answer = tokenizer.encode_batch([task.prompt, task.answer + END])
        exchanges += [exchanges[-1] + 1 if exchanges else 0] * (len(prompt.ids) + len(answer.ids))
        ids += prompt.ids + answer.ids
        wanted += [IGNORED] * len(prompt.ids) + answer.ids
    return ids[:length], wanted[:length], exchanges[:length]


def batch_of(rng: random.Random, tokenizer: Tokenizer, options: LanguageOptions, lesson: Lesson) -> TextBatch:
    """One batch; in ten, one is half as many conversations of twice the length."""
    twice = 2 if rng.random() < 0.1 else 1
    length = options.length * twice
    rows = [pack(rng, tokenizer, length, lesson) for _ in range(options.batch // twice)]
    ids, wanted, exchanges = (torch.tensor(columns) for columns in zip(*rows, strict=True))
    visible = None
    if lesson.separate:
        before = torch.ones(length - 1, length - 1, dtype=torch.bool).tril()
        same = exchanges[:, None, :-1] == exchanges[:, :-1, None]
        visible = (same & before)[:, None]
    return TextBatch(ids, wanted, visible)


def answer_loss(model: Phi4MultimodalForCausalLM, batch: TextBatch) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens."""
    embeds = model.model.embed_tokens(batch.ids[:, :-1])
    hidden = model.model(inputs_embeds=embeds, attention_mask=batch.visible, use_cache=False).last_hidden_state
    targets = batch.wanted[:, 1:]
    chosen = targets != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[chosen]).float(), targets[chosen])


def exact_by_kind(model: Phi4MultimodalForCausalLM, count: int, seed: int) -> dict[str, float]:
    """Share of held-out tasks answered exactly, per kind of task."""
    rng = random.Random(seed)
    tasks: list[Task] = [any_task(rng, held_out=True) for _ in range(count)]
    answers = answer_texts(model, [task.prompt for task in tasks], limit=64)
    right: dict[str, list[bool]] = {}
    for task, answer in zip(tasks, answers, strict=True):
        right.setdefault(task.kind, []).append(answer == task.answer)
    return {kind: sum(values) / len(values) for kind, values in sorted(right.items())}


class LanguageTraining:
    """The loop of stage 1: draws, steps, reports, saves."""

    def __init__(self, folder: Path, options: LanguageOptions) -> None:
        self.folder, self.options = folder, options
        self.model = new_model(options.seed)
        self.model.requires_grad_(False)
        for parameter in (*self.model.model.embed_tokens.parameters(), *self.model.model.layers.parameters()):
            parameter.requires_grad_(True)
        self.model.model.norm.requires_grad_(True)
        self.optimizers = Optimizers(self.model, options.vector_rate, options.matrix_rate)
        self.tokenizer = build_tokenizer()
        self.step, self.used_s = 0, 0.0
        self.resume()

    def resume(self) -> None:
        """Continue from the last save, if there is one."""
        path = self.folder / "progress.pt"
        if path.exists():
            saved = torch.load(path, weights_only=False)
            self.model.load_state_dict(saved["model"], strict=False)
            self.optimizers.load(saved["optimizers"])
            self.step, self.used_s = saved["step"], saved["used_s"]

    def save(self) -> None:
        """Write everything needed to resume."""
        saved = {"model": language_state(self.model), "optimizers": self.optimizers.state()}
        torch.save(saved | {"step": self.step, "used_s": self.used_s}, self.folder / "progress.pt")

    def run(self) -> None:
        """Train until the time is used up, then write the final language model."""
        options = self.options
        began, saved_at = time.monotonic() - self.used_s, time.monotonic()
        rng = random.Random(f"{options.seed} {self.step}")
        running = 0.0
        while self.used_s < options.minutes * 60:
            part = self.used_s / (options.minutes * 60)
            lesson = self.lesson_at(rng, part)
            loss = self.advance(rng, part, lesson)
            running = loss if self.step == 1 else 0.95 * running + 0.05 * loss
            self.used_s = time.monotonic() - began
            if self.step % 20 == 0:
                report(
                    self.folder,
                    f"step {self.step} loss {running:.4f} longest {lesson.longest} seconds {self.used_s:.0f}",
                )
            if time.monotonic() - saved_at > options.save_every_s:
                self.save()
                report(self.folder, f"held-out {exact_by_kind(self.model, 96, self.step)}")
                saved_at = time.monotonic()
        self.finish()

    def lesson_at(self, rng: random.Random, part: float) -> Lesson:
        """Short copies first, then everything; a third of the later batches are conversations of many turns."""
        only_copying = part < self.options.copy_until
        separate = only_copying or rng.random() < 0.67
        longest = 2 + round(12 * min(1.0, part / self.options.grow_until))
        return Lesson(longest=longest, only_copying=only_copying, separate=separate)

    def advance(self, rng: random.Random, part: float, lesson: Lesson) -> float:
        """One optimizer step; returns its loss."""
        batch = batch_of(rng, self.tokenizer, self.options, lesson)
        with torch.autocast("cpu", torch.bfloat16):
            loss = answer_loss(self.model, batch)
        loss.backward()
        self.optimizers.step(scale_at(part, self.options.warmup))
        self.step += 1
        return loss.item()

    def finish(self) -> None:
        """Write the final model, rounded to bfloat16: later stages must train on exactly what is shipped."""
        self.save()
        rounded = {name: value.bfloat16().float().contiguous() for name, value in language_state(self.model).items()}
        self.model.load_state_dict(rounded, strict=False)
        report(self.folder, f"final held-out {exact_by_kind(self.model, 800, 7)}")
        save_file(rounded, self.folder / "model.safetensors")
        (self.folder / "DONE").write_text("final\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=LanguageOptions.minutes)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.state_dir / "language"
    folder.mkdir(parents=True, exist_ok=True)
    LanguageTraining(folder, LanguageOptions(minutes=arguments.minutes)).run()


if __name__ == "__main__":
    main()
