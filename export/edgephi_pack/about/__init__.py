"""What a release says of itself: its bill of materials and how it was made."""
