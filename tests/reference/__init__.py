"""The comparison with PyTorch transformers; needs the `reference` extra."""
