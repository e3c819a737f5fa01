"""Bringing batches to destinations, by whichever road: what happens when one does not take them."""
