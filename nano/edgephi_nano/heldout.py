"""Held-out sets of all four modes, in one place, for accuracy measurements.

Needs no torch: numpy, Pillow, soxr and the espeak-ng C library only. The same on every run.
"""

from edgephi_nano.picture_questions import PictureCase, pictures, spoken_questions
from edgephi_nano.spoken_cases import CommandCase, SpeechCase, commands, speech_clips

__all__ = [
    "CommandCase",
    "PictureCase",
    "SpeechCase",
    "commands",
    "pictures",
    "speech_clips",
    "spoken_questions",
]
