"""Lets the model answer spoken questions about pictures: the "vision" audio projection, beside the vision adapter.

    python -m edgephi_nano.train_spoken_questions STATE_DIR --audio FILE --minutes 25

Needs STATE_DIR/vision and a file with the final audio tower (and, if it is there, the speech projection to begin with).
The audio tower stays frozen, so its rows are made once and kept; the adapter goes on learning from written and spoken
questions together, so that neither is forgotten. Writes STATE_DIR/spoken_questions/ like the stage before, which it
replaces. Resumable.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from edgephi.audio.decoding import Waveform, log_mel
from edgephi_nano import adapters
from edgephi_nano.branching import Branch
from edgephi_nano.picture_questions import SPOKEN, answers, spoken_questions
from edgephi_nano.pictures import Picture
from edgephi_nano.reading import hear, measure, project_audio
from edgephi_nano.speech_data import KNOWN_VOICES, clip_of
from edgephi_nano.speech_set import StoredClip, load_clips
from edgephi_nano.train_vision import IMAGE_EMBED, Trainer, arguments

AUDIO_EMBED = "model.embed_tokens_extend.audio_embed."
PROJECTION = tuple(f"{AUDIO_EMBED}{name}_proj_for_vision_speech." for name in ("up", "down"))
CLIPS_PER_PHRASE = 300


def question_clips(folder: Path) -> list[StoredClip]:
    """Log-mel features of many voices asking each phrase; made on the first call, then read from the folder."""
    path = folder / "000.npz"
    if not path.exists():
        rng = random.Random(11)
        texts = [phrase for phrases in SPOKEN.values() for phrase in phrases for _ in range(CLIPS_PER_PHRASE)]
        features = [log_mel(Waveform(clip_of(text, rng, KNOWN_VOICES))).astype(np.float16) for text in texts]
        lengths = np.array([len(f) for f in features], np.int32)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "partial.npz", features=np.concatenate(features), lengths=lengths, texts=np.array(texts))
        (folder / "partial.npz").rename(path)
    return load_clips(folder)


def heard_questions(audio_embed: nn.Module, clips: list[StoredClip]) -> dict[str, list[Tensor]]:
    """Tower rows, float16 [A, 160], of the clips, by the kind of question they ask."""
    kind_of = {phrase: kind for kind, phrases in SPOKEN.items() for phrase in phrases}
    ordered = sorted(clips, key=lambda clip: len(clip.features))
    heard: dict[str, list[Tensor]] = {kind: [] for kind in SPOKEN}
    for i in range(0, len(ordered), 32):
        batch = ordered[i : i + 32]
        for clip, rows in zip(batch, hear(audio_embed, [clip.features for clip in batch]), strict=True):
            heard[kind_of[clip.text]].append(rows.half())
    return heard


class SpokenTrainer(Trainer):
    """The vision stage's trainer, with spoken questions beside the written ones."""

    stage = "spoken_questions"
    owned = (IMAGE_EMBED, *PROJECTION)
    rates = (4e-4, 5e-4, 3e-4)

    def __init__(self, state_dir: Path, audio: Path, minutes: float, batch: int) -> None:
        self.audio = load_file(audio)
        super().__init__(state_dir, minutes, batch)
        self.audio_embed = self.model.model.embed_tokens_extend.audio_embed
        tower = {n: t for n, t in self.audio.items() if n.startswith(f"{AUDIO_EMBED}encoder.")}
        self.model.load_state_dict(tower, strict=False)
        self.heard = heard_questions(self.audio_embed, question_clips(self.out))
        self.spoken_cases = list(spoken_questions(60, seed=1))

    def start(self) -> None:
        """Begin from the vision stage, and from the speech projection as the one to be used beside pictures.

        Where this stage's own parts exist already (made with an earlier audio tower), begin from them instead.
        """
        earlier = (self.out / "model.safetensors").exists()
        source = self.out if earlier else self.state_dir / "vision"
        adapters.load_adapter(self.model, source / "vision-lora")
        self.model.load_state_dict(load_file(source / "model.safetensors"), strict=False)
        if earlier:
            self.log({"step": 0, "from": "earlier parts of this stage"})
            return
        speech = {n: t for n, t in self.audio.items() if "_for_speech." in n}
        beside = {n.replace("_for_speech.", "_for_vision_speech."): t for n, t in speech.items()}
        self.model.load_state_dict(beside, strict=False)
        self.log({"step": 0, "from_speech_projection": bool(speech)})

    def draw_branches(self, picture: Picture) -> list[Branch]:
        """Each question that fits a picture, in writing or spoken, and one more spoken."""
        found = list(answers(picture).items())
        asked = [self.rng.choice(found)] + [pair for pair in found if self.rng.random() < 0.5]
        branches = [self.words.written(self.rng, kind, answer) for kind, answer in found if (kind, answer) not in asked]
        for kind, answer in asked:
            rows = self.rng.choice(self.heard[kind]).float()
            branches.append(self.words.spoken(project_audio(self.audio_embed, rows), answer))
        return branches

    def measure(self) -> dict[str, float]:
        """Exact answers to held-out written and spoken questions."""
        spoken = measure(self.model, self.words, self.spoken_cases)
        return super().measure() | {f"spoken_{key}": share for key, share in spoken.items()}


def main() -> None:
    """Run the stage."""
    given = arguments(__doc__, 25.0, audio=True)
    SpokenTrainer(given.state_dir, given.audio, given.minutes, given.batch).run()


if __name__ == "__main__":
    main()
