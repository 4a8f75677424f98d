"""What a user may write, and what follows from it."""
