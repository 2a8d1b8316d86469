"""Shared by the commands of every package: options, signals, progress, messages and exit codes."""
