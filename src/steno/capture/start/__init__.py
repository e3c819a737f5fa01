"""How a run begins in this process: arguments, launcher, name, attempt, collector."""
