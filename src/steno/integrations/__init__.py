"""One file per training framework; `target_run` and `checkpoints` are what they share."""
