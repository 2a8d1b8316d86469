"""Where every weight lies, how it is encoded, and its writing."""
