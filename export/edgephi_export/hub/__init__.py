"""Checkpoints and model folders from the Hugging Face hub."""
