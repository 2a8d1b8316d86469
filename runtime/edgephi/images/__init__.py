"""Images: decoding, and the crops that the vision encoder takes."""
