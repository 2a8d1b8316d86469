"""Latency laboratory: synthetic checkpoints at true size, timed commands, peers and reports."""
