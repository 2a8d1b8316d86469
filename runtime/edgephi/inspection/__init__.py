"""Findings about a machine and a model folder: diagnosis, verification, summaries, and samples that a model answers."""
