"""Helpers of the tests: small random checkpoints and inputs, made without torch."""
