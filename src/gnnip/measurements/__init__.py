"""What is measured on data sets and trained potentials: one module per kind."""
