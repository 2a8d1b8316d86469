"""The commands of `edgephi evaluate`."""
