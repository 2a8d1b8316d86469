"""Generators, training and assembly of the demo checkpoint."""
