"""The commands under `edgephi bench`."""
