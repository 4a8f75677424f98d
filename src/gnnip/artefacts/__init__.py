"""What is told of measurements and trainings: tidy tables, metrics and figures, one module per kind."""
