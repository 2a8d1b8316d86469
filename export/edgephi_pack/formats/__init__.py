"""Releases for updaters that are not ours: Debian packages and OCI layouts."""
