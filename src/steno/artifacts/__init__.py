"""Files kept with a run: what all layers know of them."""
