"""Bringing batches to destinations, by name or as objects: what happens when one does not take them."""
