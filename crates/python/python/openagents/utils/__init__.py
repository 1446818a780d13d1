"""Where the documentation expects small functions."""
