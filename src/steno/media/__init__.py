"""One file per kind of value: its snapshot, its encoding."""
