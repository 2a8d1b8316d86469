"""Whether one build or report is slower than another."""
