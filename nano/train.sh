#!/usr/bin/env bash
# Train the demo checkpoint from nothing: about two hours on two cores, two stages at a time.
#
#   nano/train.sh STATE_DIR [STAGE OPTIONS ...]        e.g. nano/train.sh nano-state
#
# Interrupted, it resumes where it stopped. Needs `pip install .[cpu,export,reference]` and the Debian packages
# libespeak-ng1, espeak-ng-data and fonts-dejavu. Options after STATE_DIR go to every training stage.
set -euo pipefail

state=${1:?give a folder for data and progress, about 2 GB}
shift
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here:$here/../runtime:$here/../export" OMP_NUM_THREADS=1
# Keeps torch from giving memory back to the system after every step: about a quarter faster.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

stage() { python -m "edgephi_nano.$1" "$state" "${@:2}"; }

stage train_sight "$@" & # 53 min
sight=$!
[ -e "$state/speech/DONE" ] || { stage make_speech && touch "$state/speech/DONE"; }
stage train_language "$@" # 25 min
stage train_hearing "$@"  # 20 min
wait "$sight"
stage train_speech "$@" & # 41 min
speech=$!
stage train_vision "$@" # 25 min
wait "$speech"
stage train_spoken_questions --audio "$state/spoken/audio.safetensors" "$@" # 25 min
python -m edgephi_nano.assemble "$state" "$state/checkpoint"
echo "The checkpoint is in $state/checkpoint; measure it with: python -m edgephi_nano.accuracy --checkpoint $state/checkpoint"
