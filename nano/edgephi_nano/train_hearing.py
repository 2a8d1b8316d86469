"""Stage 2a: teach the audio tower to hear words, with a CTC head that is thrown away afterwards.

    python -m edgephi_nano.train_hearing STATE_DIR [--minutes 20]

Needs the clips of `make_speech`, not the language model. Writes STATE_DIR/hearing/tower.safetensors
and a curve; resumes from its last save.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from edgephi_nano.hearing import balance_stem, encode_clips, listen_locally, pad_clips
from edgephi_nano.modelling import new_model
from edgephi_nano.optimizing import Optimizers, scale_at
from edgephi_nano.reporting import report
from edgephi_nano.scoring import word_error_rate
from edgephi_nano.speech_set import StoredClip, batches, feature_statistics, load_clips, varied
from edgephi_nano.vocabulary import WORDS

BLANK = 0
CLASS_OF = {word: i + 1 for i, word in enumerate(WORDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingOptions:
    """How stage 2a runs. Rates are the peaks of a warm-up and cosine decay over `minutes`."""

    minutes: float = 20.0
    batch: int = 32
    rate: float = 1.5e-3
    matrix_rate: float = 3e-3
    warmup: float = 0.03
    short_until: float = 0.18
    short_words: int = 3
    plain_until: float = 0.3
    varied_from: float = 0.6
    report_every: int = 50
    save_every_s: float = 150.0
    spare_clips: int = 320
    seed: int = 2


class Listener(nn.Module):
    """The audio tower under a linear layer over blank and words."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.encoder = new_model(seed).model.embed_tokens_extend.audio_embed.encoder
        self.head = nn.Linear(self.encoder.config.hidden_size, len(WORDS) + 1)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, T, 80] -> log-probabilities float32 [B, A, words + 1] and rows per clip."""
        hidden, rows = encode_clips(self.encoder, features, lengths)
        return self.head(hidden).float().log_softmax(-1), rows


def ctc(scores: torch.Tensor, rows: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """CTC loss of a batch, averaged over words."""
    targets = [torch.tensor([CLASS_OF[word] for word in text.split()]) for text in texts]
    lengths = torch.tensor([len(target) for target in targets])
    return functional.ctc_loss(
        scores.transpose(0, 1), torch.cat(targets), rows, lengths, blank=BLANK, zero_infinity=True
    )


def best_path(scores: torch.Tensor, rows: torch.Tensor) -> list[str]:
    """The most likely class of every row, repeats and blanks removed, as words."""
    texts = []
    for path, length in zip(scores.argmax(-1).tolist(), rows.tolist(), strict=True):
        kept = [c for c, before in zip(path[:length], [BLANK, *path], strict=False) if c not in (before, BLANK)]
        texts.append(" ".join(WORDS[c - 1] for c in kept))
    return texts


class HearingTraining:
    """The loop of stage 2a: draws, steps, reports, saves."""

    def __init__(self, state_dir: Path, options: HearingOptions) -> None:
        self.options, self.folder = options, state_dir / "hearing"
        self.folder.mkdir(parents=True, exist_ok=True)
        clips = load_clips(state_dir / "speech")
        self.spare, self.clips = clips[: options.spare_clips], clips[options.spare_clips :]
        self.model = Listener(options.seed)
        self.mean = self.fit_to_data(self.model.encoder)
        self.optimizers = Optimizers(self.model, options.rate, options.matrix_rate)
        self.step, self.used_s = 0, 0.0
        self.resume()

    def fit_to_data(self, encoder: nn.Module) -> np.ndarray:
        """Set the feature normalization and balance the stem; returns the mean features, [80]."""
        mean, inverse_std = feature_statistics(self.spare)
        encoder.encoder_embedding.global_mean.copy_(torch.from_numpy(mean))
        encoder.encoder_embedding.global_invstd.copy_(torch.from_numpy(inverse_std))
        listen_locally(encoder.relative_attention_bias_layer.bias_values)
        speech = np.stack([clip.features[:64] for clip in self.spare if len(clip.features) >= 64])
        balance_stem(encoder.embed, encoder.encoder_embedding(torch.from_numpy(speech.astype(np.float32))))
        return mean

    def resume(self) -> None:
        """Continue from the last save, if there is one."""
        path = self.folder / "progress.pt"
        if path.exists():
            saved = torch.load(path, weights_only=False)
            self.model.load_state_dict(saved["model"])
            self.optimizers.load(saved["optimizers"])
            self.step, self.used_s = saved["step"], saved["used_s"]

    def save(self) -> None:
        """Write everything needed to resume, and the tower as the next stage reads it."""
        saved = {"model": self.model.state_dict(), "optimizers": self.optimizers.state()}
        torch.save(saved | {"step": self.step, "used_s": self.used_s}, self.folder / "progress.pt")
        tower = {name: value.contiguous() for name, value in self.model.encoder.state_dict().items()}
        save_file(tower, self.folder / "tower.safetensors")

    def advance(self, clips: list[StoredClip], noise: np.random.Generator, part: float) -> float:
        """One optimizer step; returns its loss."""
        options = self.options
        strength = min(1.0, max(0.0, (part - options.plain_until) / (options.varied_from - options.plain_until)))
        features, lengths = pad_clips([varied(noise, clip.features, self.mean, strength) for clip in clips])
        with torch.autocast("cpu", torch.bfloat16):
            scores, rows = self.model(features, lengths)
        loss = ctc(scores, rows, [clip.text for clip in clips])
        loss.backward()
        self.optimizers.step(scale_at(part, self.options.warmup))
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def error_rate(self) -> float:
        """Word error rate on clips kept out of training (their texts may have been trained)."""
        heard = []
        for start in range(0, len(self.spare), 32):
            heard += best_path(*self.model(*pad_clips([c.features for c in self.spare[start : start + 32]])))
        return word_error_rate([clip.text for clip in self.spare], heard)

    def run(self) -> None:
        """Train until the time is used up."""
        options = self.options
        began, saved_at, running = time.monotonic() - self.used_s, time.monotonic(), 0.0
        noise = np.random.default_rng([options.seed, self.step])
        rng = random.Random(f"{options.seed} {self.step}")
        short = [clip for clip in self.clips if len(clip.text.split()) <= options.short_words]
        first, later = batches(rng, short, options.batch), batches(rng, self.clips, options.batch)
        done = False
        while not done:
            clips = next(first if self.used_s < options.short_until * options.minutes * 60 else later)
            loss = self.advance(clips, noise, self.used_s / (options.minutes * 60))
            running = loss if running == 0 else 0.95 * running + 0.05 * loss
            self.used_s = time.monotonic() - began
            if self.step % options.report_every == 0:
                report(self.folder, f"step {self.step} loss {running:.4f} seconds {self.used_s:.0f}")
            done = self.used_s >= options.minutes * 60
            if done or time.monotonic() - saved_at > options.save_every_s:
                self.save()
                report(self.folder, f"step {self.step} word error rate {self.error_rate():.4f}")
                saved_at = time.monotonic()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=HearingOptions.minutes)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    HearingTraining(arguments.state_dir, HearingOptions(minutes=arguments.minutes)).run()


if __name__ == "__main__":
    main()
