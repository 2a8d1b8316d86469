"""The agent of a device: installs signed releases, judges them by their probe, and returns to the former one."""
