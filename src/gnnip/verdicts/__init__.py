"""Published values and claims against ours."""
