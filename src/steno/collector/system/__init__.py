"""The machine's own metrics: measured here, recorded as points of the run."""
