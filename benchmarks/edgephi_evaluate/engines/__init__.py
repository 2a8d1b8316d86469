"""What answers items: edgephi, a server, and peers."""
