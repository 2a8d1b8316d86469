"""Measures `edgephi serve` from its clients' side, beside direct calls of the same model in another process."""
