"""Weights to blocks of bits, and how far the result is from the original. Runs on the host, without PyTorch."""
