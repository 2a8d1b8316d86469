"""Makes the signed bundles that `edgephi-agent` installs: on the host, with the keys."""
