"""Artifacts at the call: snapshot, entry, handle."""
