"""Captions of audio while it comes: final at every pause, partial in between while the machine keeps up."""
