"""The commands `edgephi export` and `edgephi pull`."""
