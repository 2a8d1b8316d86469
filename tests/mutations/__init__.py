"""Proves the tests: each small mistake of a list is made in a copy of the source, and a test must find it."""
