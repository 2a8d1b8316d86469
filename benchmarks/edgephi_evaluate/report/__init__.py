"""Tables and pages of runs."""
