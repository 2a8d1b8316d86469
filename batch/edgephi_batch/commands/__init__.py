"""The command line of `edgephi batch`."""
