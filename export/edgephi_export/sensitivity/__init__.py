"""What each group of the decoder's tensors costs in each format, measured on calibration examples."""
