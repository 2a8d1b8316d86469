"""Recordings: containers and codecs, channels, sample rates, log-mel features."""
