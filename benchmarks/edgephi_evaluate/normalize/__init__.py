"""Texts as harnesses compare them."""
