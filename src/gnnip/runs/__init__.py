"""Long runs: the list runs.yaml, worked off behind the daily work, and what comes back of it."""
