"""The journal: bytes only; knows no framework and no destination."""
