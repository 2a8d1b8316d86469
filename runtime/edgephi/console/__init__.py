"""What commands of every package share: options, signals, progress, messages and exit codes."""
