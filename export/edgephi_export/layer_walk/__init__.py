"""Solves the decoder's matrices layer by layer, each on the outputs of the quantized layers before it."""
