"""Single measurements: time, memory, bandwidth, energy, and what the machine did meanwhile."""
