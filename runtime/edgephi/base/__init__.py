"""Shared by every room: errors, numbers, files written whole, cancellation, progress, the machine."""
