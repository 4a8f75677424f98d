"""From predictions and measurements to metrics, artefacts, claims and verdicts."""
