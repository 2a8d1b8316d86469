"""The formats of transcripts, by the extensions of their files. Imports nothing, so that help is fast."""

KINDS = ("txt", "srt", "vtt", "json")
