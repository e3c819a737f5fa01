"""An Iceberg catalogue, and steno's tables in it."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Final

from steno.errors import StenoError, UsageError
from steno.ledger import layout
from steno.secrecy import error_text, mask

NAMESPACE: Final = "steno"
METADATA: Final = "_iceberg"
"""The directory below the store's root that has the tables' metadata."""
RUNS: Final = (
    *((name, kind, False) for name, kind in (("project", "string"), ("run", "string"))),
    *((name, "string", True) for name in ("name", "place", "state", "notes", "group")),
    ("tags", "string", True),
    *((name, "time", True) for name in ("started", "ended")),
    *((name, "int64", True) for name in ("records", "points", "attempts")),
    ("archived", "boolean", True),
    *((name, "string", True) for name in ("config", "summary", "mark")),
)
"""The columns of `runs`: (name, type, whether it may be null). `tags`, `config` and `summary` are JSON."""
_NAME: Final = "steno"
"""What pyiceberg's configuration calls the catalogue: PYICEBERG_CATALOG__STENO__TOKEN and its like."""
_PROPERTIES: Final = {
    "format-version": "2",
    # A commit that a library tries again by itself would enter a file twice: `entering.py` does it.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    # The data files are the runs' own: nobody who tidies a table up may delete one.
    "gc.enabled": "false",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}


def open_catalogue(uri: str, warehouse: str | None = None) -> Any:
    """A pyiceberg catalogue by its URI: a database as SQLAlchemy names it, or a REST catalogue.

    More of it (tokens, options of S3) comes from pyiceberg's own configuration, as PYICEBERG_CATALOG__STENO__TOKEN.

    Raises:
        UsageError: pyiceberg is not installed, the URI is none, or the catalogue cannot be opened.
    """
    if importlib.util.find_spec("pyiceberg") is None:
        raise UsageError("--catalog needs pyiceberg, which is not installed: pip install 'stenolog[iceberg]'")
    scheme, found, _ = uri.partition("://")
    if not found:
        shown = mask("", uri)
        raise UsageError(f"--catalog {shown!r}: a URI is needed, such as sqlite:////srv/catalog.db or https://host")
    from pyiceberg.catalog import load_catalog

    about = {"uri": uri, "type": "rest" if scheme in {"http", "https"} else "sql", **_storage()}
    if warehouse is not None:
        about["warehouse"] = warehouse
    try:
        try:
            return load_catalog(_NAME, **about)
        except Exception:  # in a new database, another publisher may have made the catalogue's tables in between
            return load_catalog(_NAME, **about)
    except Exception as error:
        raise UsageError(f"the catalogue {mask('', uri)} cannot be opened: {error_text(error)}") from None


def _storage() -> dict[str, str]:
    """Where a store is, as the rest of steno finds it; pyiceberg looks into other variables."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    known = {"s3.endpoint": endpoint, "s3.region": region, "s3.profile-name": os.environ.get("AWS_PROFILE")}
    return {name: value for name, value in known.items() if value}


def table(catalogue: Any, name: str, root: str) -> Any:
    """One of steno's tables, `metrics`, `records` or `runs`, as it is now; made where it is not there.

    Raises:
        StenoError: the table of that name is another store's, or the catalogue refuses it.
    """
    from pyiceberg import exceptions

    refusals = {
        exceptions.RESTError, exceptions.BadRequestError, exceptions.ForbiddenError, exceptions.UnauthorizedError
    }  # fmt: skip
    try:
        try:
            found = catalogue.load_table(f"{NAMESPACE}.{name}")
        except exceptions.NoSuchTableError:
            found = _made(catalogue, name, root)
    except exceptions.RESTError as error:
        if type(error) not in refusals:  # a server that is down, or busy
            raise
        raise StenoError(
            f"the catalogue refuses the table {NAMESPACE}.{name} at {root}: {error_text(error)}. "
            "It must let a table lie where its files are, and the token must have the right to make one"
        ) from None
    if str(found.location()).rstrip("/") != root:
        raise StenoError(
            f"the table {NAMESPACE}.{name} of this catalogue is of {found.location()}, not of {root}: "
            "a catalogue is for one store"
        )
    return found


def _made(catalogue: Any, name: str, root: str) -> Any:
    from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform

    place = f"{root}/{METADATA}/{name}"
    schema = _schema(name)
    parted = ("project",) if name == "runs" else ("project", "bucket")
    fields = [
        PartitionField(schema.find_field(column).field_id, 1000 + at, IdentityTransform(), column)
        for at, column in enumerate(parted)
    ]
    try:
        catalogue.create_namespace(NAMESPACE)
    except Exception as error:  # where two publishers make it, the second gets the database's own error
        if not isinstance(error, NamespaceAlreadyExistsError) and not catalogue.namespace_exists(NAMESPACE):
            raise
    try:
        return catalogue.create_table(
            f"{NAMESPACE}.{name}",
            schema=schema,
            location=root,
            partition_spec=PartitionSpec(*fields),
            properties={
                **_PROPERTIES,
                "write.metadata.path": place,
                "write.data.path": f"{place}/data",
                "schema.name-mapping.default": schema.name_mapping.model_dump_json(),
            },
        )
    except TableAlreadyExistsError:  # another publisher was first
        return catalogue.load_table(f"{NAMESPACE}.{name}")


def _schema(name: str) -> Any:
    """With the ids that the columns have in parts."""
    from pyiceberg import types
    from pyiceberg.schema import Schema

    kinds = {
        "string": types.StringType(),
        "int64": types.LongType(),
        "int32": types.IntegerType(),
        "double": types.DoubleType(),
        "time": types.TimestamptzType(),
        "boolean": types.BooleanType(),
    }
    if name == "runs":
        columns = tuple((column, at, kind, nullable) for at, (column, kind, nullable) in enumerate(RUNS, 1))
    else:
        columns = {"metrics": layout.METRICS, "records": layout.RECORDS}[name]
    return Schema(*(types.NestedField(id_, column, kinds[kind], not null) for column, id_, kind, null in columns))
