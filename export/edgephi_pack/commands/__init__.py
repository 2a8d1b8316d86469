"""The commands of `edgephi-pack`, one file each."""
