"""Other runtimes that load what an export wrote, behind one protocol, to compare them with edgephi's own."""
