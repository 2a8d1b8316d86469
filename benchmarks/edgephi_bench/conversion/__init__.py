"""How long a conversion takes and what it needs."""
