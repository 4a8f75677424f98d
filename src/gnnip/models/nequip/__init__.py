"""NequIP."""
