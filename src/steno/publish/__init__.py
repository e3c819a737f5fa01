"""The parts of many runs made known to engines that teams run: an Iceberg catalogue, ClickHouse."""
