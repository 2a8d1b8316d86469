"""Stage 2b: audio projection and speech adapter on the frozen language model; the tower keeps learning.

    python -m edgephi_nano.train_speech STATE_DIR [--minutes 41]

Needs STATE_DIR/language and STATE_DIR/hearing. Writes STATE_DIR/spoken/audio.safetensors (tower and
speech projection), STATE_DIR/spoken/speech-lora/ and a curve; resumes from its last save.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from edgephi.audio.decoding import Waveform, log_mel
from edgephi_nano.adapters import adapter_parameters, attach, save_adapter
from edgephi_nano.config import SPEECH_ADAPTER
from edgephi_nano.hearing import pad_clips
from edgephi_nano.modelling import load_language, new_model
from edgephi_nano.optimizing import scale_at
from edgephi_nano.reporting import report
from edgephi_nano.scoring import word_error_rate
from edgephi_nano.speech_set import StoredClip, batches, joined, load_clips, varied
from edgephi_nano.spoken_cases import speech_clips
from edgephi_nano.tokenizer import AUDIO_SLOT, special_id
from edgephi_nano.transcribing import IGNORED, SpeechPrompt, speech_rows, transcribe

AUDIO_PREFIX = "model.embed_tokens_extend.audio_embed."


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """How stage 2b runs. Rates are the peaks of a warm-up and cosine decay over `minutes`.

    The tower is trained from `tower_from` to `tower_until`; from `joined_from` on, `joined_share` of the
    batches hold several utterances per clip. All in shares of the stage.
    """

    minutes: float = 41.0
    batch: int = 32
    adapter_rate: float = 2e-3
    projection_rate: float = 1e-3
    tower_rate: float = 2e-4
    tower_from: float = 0.05
    tower_until: float = 0.38
    joined_from: float = 0.54
    joined_share: float = 0.6
    alignment: float = 0.3
    warmup: float = 0.03
    report_every: int = 50
    save_every_s: float = 150.0
    seed: int = 3


def alignment_loss(embedding: torch.Tensor, clips: list[torch.Tensor], texts: list[list[int]]) -> torch.Tensor:
    """CTC of the projected rows against the decoder's own token embeddings; the slot token is the blank.

    It pulls each row towards the embedding of the word being heard, which the decoder can already copy.
    """
    rows = torch.tensor([len(clip) for clip in clips])
    padded = torch.nn.utils.rnn.pad_sequence(clips)  # [A, B, hidden]
    scores = functional.normalize(padded, dim=-1) @ functional.normalize(embedding, dim=-1).T
    targets = torch.tensor([token for text in texts for token in text])
    lengths = torch.tensor([len(text) for text in texts])
    return functional.ctc_loss(
        (20 * scores).log_softmax(-1), targets, rows, lengths, blank=special_id(AUDIO_SLOT), zero_infinity=True
    )


class SpeechTraining:
    """The loop of stage 2b: draws, steps, reports, saves."""

    def __init__(self, state_dir: Path, options: SpeechOptions) -> None:
        self.options, self.folder = options, state_dir / "spoken"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clips = load_clips(state_dir / "speech")
        self.model = new_model(options.seed)
        load_language(self.model, state_dir / "language" / "model.safetensors")
        self.audio = self.model.model.embed_tokens_extend.audio_embed
        self.audio.encoder.load_state_dict(load_file(state_dir / "hearing" / "tower.safetensors"))
        attach(self.model, SPEECH_ADAPTER)
        self.prompt = SpeechPrompt(self.model.model.embed_tokens)
        self.optimizer = self.new_optimizer()
        self.mean = self.audio.encoder.encoder_embedding.global_mean.numpy()
        self.step, self.used_s = 0, 0.0
        self.resume()

    def new_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with one group per trained part; `peak` is kept in each group."""
        options = self.options
        projection = [*self.audio.up_proj_for_speech.parameters(), *self.audio.down_proj_for_speech.parameters()]
        groups = [
            {"params": adapter_parameters(self.model), "peak": options.adapter_rate},
            {"params": projection, "peak": options.projection_rate},
            {"params": list(self.audio.encoder.parameters()), "peak": options.tower_rate},
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)

    def trained(self) -> dict[str, torch.Tensor]:
        """The tower and the speech projection by their names in the checkpoint."""
        state = self.audio.state_dict()
        wanted = ("encoder.", "up_proj_for_speech.", "down_proj_for_speech.")
        return {AUDIO_PREFIX + name: state[name].contiguous() for name in state if name.startswith(wanted)}

    def resume(self) -> None:
        """Continue from the last save, if there is one."""
        path = self.folder / "progress.pt"
        if path.exists():
            saved = torch.load(path, weights_only=False)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.used_s = saved["step"], saved["used_s"]

    def save(self) -> None:
        """Write everything needed to resume, and the trained parts as later stages read them."""
        saved = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(saved | {"step": self.step, "used_s": self.used_s}, self.folder / "progress.pt")
        save_file(self.trained(), self.folder / "audio.safetensors")
        save_adapter(self.model, SPEECH_ADAPTER, self.folder / "speech-lora")

    def loss_of(self, clips: list[StoredClip], noise: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of the transcripts, and the alignment loss."""
        features, lengths = pad_clips([varied(noise, clip.features, self.mean) for clip in clips])
        texts = [clip.text for clip in clips]
        with torch.autocast("cpu", torch.bfloat16):
            rows = speech_rows(self.model, features, lengths)
            inputs, targets = self.prompt.with_answers(rows, texts)
            hidden = self.model.model(inputs_embeds=inputs, use_cache=False).last_hidden_state
            chosen = targets != IGNORED
            logits = self.model.lm_head(hidden[chosen]).float()
        spoken = [self.prompt.ids(" " + text) for text in texts]
        aligned = alignment_loss(self.model.model.embed_tokens.weight, rows, spoken)
        return functional.cross_entropy(logits, targets[chosen]), aligned

    def advance(self, clips: list[StoredClip], noise: np.random.Generator, part: float) -> tuple[float, float]:
        """One optimizer step; returns both losses."""
        self.audio.encoder.requires_grad_(self.options.tower_from <= part < self.options.tower_until)
        answer, aligned = self.loss_of(clips, noise)
        (answer + self.options.alignment * aligned).backward()
        torch.nn.utils.clip_grad_norm_((p for group in self.optimizer.param_groups for p in group["params"]), 1.0)
        scale = scale_at(part, self.options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return answer.item(), aligned.item()

    def error_rates(self, count: int) -> str:
        """Word error rates on held-out texts, said by known and by unseen voices."""
        rates = []
        for voices in ("known", "unseen"):
            clips = list(speech_clips(count, seed=5, voices=voices))
            heard = transcribe(self.model, [log_mel(Waveform(clip.samples)) for clip in clips])
            rates.append(f"{voices} {word_error_rate([clip.answer for clip in clips], heard):.4f}")
        return " ".join(rates)

    def run(self) -> None:
        """Train until the time is used up."""
        options = self.options
        began, saved_at, running = time.monotonic() - self.used_s, time.monotonic(), np.zeros(2)
        noise = np.random.default_rng([options.seed, self.step])
        rng = random.Random(f"{options.seed} {self.step}")
        for single in batches(rng, self.clips, options.batch):
            part = self.used_s / (options.minutes * 60)
            longer = part >= options.joined_from and rng.random() < options.joined_share
            clips = joined(single, rng.randint(2, 4)) if longer else single
            losses = np.array(self.advance(clips, noise, part))
            running = losses if not running.any() else 0.95 * running + 0.05 * losses
            self.used_s = time.monotonic() - began
            if self.step % options.report_every == 0:
                line = f"step {self.step} loss {running[0]:.4f} alignment {running[1]:.4f} seconds {self.used_s:.0f}"
                report(self.folder, line)
            done = self.used_s >= options.minutes * 60
            if done or time.monotonic() - saved_at > options.save_every_s:
                self.save()
                report(self.folder, f"step {self.step} word error rate {self.error_rates(300 if done else 64)}")
                saved_at = time.monotonic()
            if done:
                return


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=SpeechOptions.minutes)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    SpeechTraining(arguments.state_dir, SpeechOptions(minutes=arguments.minutes)).run()


if __name__ == "__main__":
    main()
