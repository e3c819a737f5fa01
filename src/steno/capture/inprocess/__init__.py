"""Destinations that run inside the training process."""
