"""What is told of measurements: tidy tables, metrics and figures, one module per kind."""
