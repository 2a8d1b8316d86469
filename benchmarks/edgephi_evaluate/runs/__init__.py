"""Runs on disk: what was asked, every answer, and how a run goes on."""
