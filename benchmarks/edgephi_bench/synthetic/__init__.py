"""Checkpoints of the public models' sizes with random weights."""
