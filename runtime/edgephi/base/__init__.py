"""What every room uses: errors, numbers, files written whole, cancellation, progress, the machine."""
