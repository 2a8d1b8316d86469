"""The files that `edgephi transcribe` writes and resumes."""
