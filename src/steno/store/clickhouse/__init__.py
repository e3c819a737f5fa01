"""The engine of reading whose runs are rows of a ClickHouse database; `steno publish` and its destination fill it."""
