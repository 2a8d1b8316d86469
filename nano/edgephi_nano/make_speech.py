"""Make the training clips and store their log-mel features.

    python -m edgephi_nano.make_speech STATE_DIR [--clips 32000]

On disk: STATE_DIR/speech/NNN.npz per thousand clips with `features` float16
[sum T, 80], `lengths` int32 [clips] and `texts`. Skips what exists, so it resumes.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from edgephi.audio.decoding import Waveform, log_mel
from edgephi_nano.speech_data import KNOWN_VOICES, clip_of, training_text

SHARD_CLIPS = 1000


def make_shard(path: Path, seed: int, clips: int = SHARD_CLIPS) -> None:
    """Write one file of `clips` clips, under its final name only when complete."""
    rng = random.Random(seed)
    texts, features = [], []
    for _ in range(clips):
        texts.append(training_text(rng))
        features.append(log_mel(Waveform(clip_of(texts[-1], rng, KNOWN_VOICES))).astype(np.float16))
    partial = path.with_suffix(".partial.npz")
    lengths = np.array([len(f) for f in features], np.int32)
    np.savez(partial, features=np.concatenate(features), lengths=lengths, texts=np.array(texts))
    partial.rename(path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--clips", type=int, default=32_000)
    arguments = parser.parse_args()
    folder = arguments.state_dir / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(arguments.clips // SHARD_CLIPS):
        path = folder / f"{shard:03d}.npz"
        if not path.exists():
            make_shard(path, seed=1000 + shard)
            print(path, flush=True)


if __name__ == "__main__":
    main()
