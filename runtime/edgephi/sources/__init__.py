"""Where an image or a recording comes from: a path, bytes, a `data:` URL or an open file."""
