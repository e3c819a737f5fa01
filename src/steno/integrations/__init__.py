"""One file per training framework; `held` and `checkpoints` are what they share."""
