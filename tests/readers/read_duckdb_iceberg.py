"""CATALOG_FILE CATALOG_NAME NAMESPACE.TABLE: an Iceberg table as DuckDB reads it."""

import os
import sqlite3
import sys

import duck
from canonical import show

file, name, identifier = sys.argv[1:]
namespace, table = identifier.rsplit(".", 1)
(metadata,) = sqlite3.connect(f"file:{file}?mode=ro", uri=True).execute(
    "SELECT metadata_location FROM iceberg_tables"
    " WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
    [name, namespace, table],
).fetchone()
location = metadata.removeprefix("file://")
schema, rows = duck.table(duck.connect("avro", "iceberg"), "iceberg_scan", location)
show(schema, os.path.basename(location), rows)
