"""ClickHouse as the layers know it that write to it or read from it: its URLs, the tables, a connection."""
