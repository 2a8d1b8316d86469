"""What each address answers, and the checks before it."""
