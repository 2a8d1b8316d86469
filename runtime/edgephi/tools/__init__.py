"""Functions that a reply may call, and the constraint that holds it to them."""
