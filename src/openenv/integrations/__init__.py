"""Foreign frameworks: one module each, imported only by who uses it."""
