"""Parts as one engine reads them, written as an Arrow file: `python engine_tables.py ENGINE PLACE OUT PART…`.

A program of its own, since engines leave threads and files behind; nothing of steno is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def with_pyarrow(paths: list[Path], _: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in paths])


def with_duckdb(paths: list[Path], _: Path) -> pa.Table:
    import duckdb

    return duckdb.sql(f"select * from read_parquet({[str(path) for path in paths]})").to_arrow_table()


def with_polars(paths: list[Path], _: Path) -> pa.Table:
    import polars as pl

    return pl.read_parquet(paths).to_arrow()


def with_pandas(paths: list[Path], _: Path) -> pa.Table:
    """With types that have a null: numpy's have none for integers, so 2**63 - 1 would be a float."""
    import pandas as pd

    frames = [pd.read_parquet(path, engine="pyarrow", dtype_backend="pyarrow") for path in paths]
    return pa.Table.from_pandas(pd.concat(frames), preserve_index=False)


def with_chdb(paths: list[Path], _: Path) -> pa.Table:
    import chdb

    text = "output_format_arrow_string_as_string=1"
    found = [chdb.query(f"select * from file('{path}', Parquet) settings {text}", "Arrow").bytes() for path in paths]
    return pa.concat_tables([pa.ipc.open_file(one).read_all() for one in found])


def with_daft(paths: list[Path], _: Path) -> pa.Table:
    import daft

    return daft.read_parquet([str(path) for path in paths]).to_arrow()


def with_pysail(paths: list[Path], _: Path) -> pa.Table:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    try:
        host, port = server.listening_address
        session = SparkSession.builder.remote(f"sc://{host}:{port}").getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        table = session.read.parquet(*map(str, paths)).toArrow()
        session.stop()
        return table
    finally:
        server.stop()


def iceberg(paths: list[Path], place: Path) -> Any:
    """An Iceberg table over the parts as they lie, parted by project and bucket."""
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("c", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}/warehouse")
    catalog.create_namespace("steno")
    table = catalog.create_table("steno.metrics", schema=pq.read_schema(paths[0]))
    with table.update_spec() as update:
        update.add_identity("project")
        update.add_identity("bucket")
    table = catalog.load_table("steno.metrics")
    table.add_files([str(path) for path in paths])
    try:
        table.add_files([str(paths[0])])
    except ValueError:
        return table  # it is there already
    raise AssertionError("the same part was taken twice")


def with_pyiceberg(paths: list[Path], place: Path) -> pa.Table:
    from pyiceberg.expressions import EqualTo

    table = iceberg(paths, place)
    assert len(table.scan(row_filter=EqualTo("key", "many")).to_arrow()) == 20_000
    return table.scan().to_arrow()


ENGINES = {
    "pyarrow": with_pyarrow,
    "duckdb": with_duckdb,
    "polars": with_polars,
    "pandas": with_pandas,
    "chdb": with_chdb,
    "daft": with_daft,
    "pysail": with_pysail,
    "pyiceberg": with_pyiceberg,
}

if __name__ == "__main__":
    name, place, out, *parts = sys.argv[1:]
    found = ENGINES[name](list(map(Path, parts)), Path(place))
    with pa.ipc.new_file(out, found.schema) as file:
        file.write_table(found)
