"""write|read|duckdb URL NAMESPACE.TABLE [NAME=VALUE…]: a table of an Iceberg REST catalog.

`write` makes it with the rows of `samples.py`; all print it, `duckdb` as DuckDB reads the metadata file that the catalog names,
the others as pyiceberg reads it. The properties are the client's.
"""

import os
import sys

from pyiceberg.catalog import load_catalog

import duck
import samples
from canonical import show

verb, url, identifier, *properties = sys.argv[1:]
more = dict(each.split("=", 1) for each in properties)
catalog = load_catalog("rest", type="rest", uri=url, **more)
if verb == "write":
    rows = samples.rows()
    catalog.create_namespace_if_not_exists(identifier.rsplit(".", 1)[0])
    catalog.create_table(identifier, rows.schema).append(rows)
table = catalog.load_table(identifier)
name = os.path.basename(table.metadata_location)
if verb == "duckdb":
    location = table.metadata_location.removeprefix("file://")
    schema, rows = duck.table(duck.connect("avro", "iceberg"), "iceberg_scan", location)
    show(schema, name, rows)
    sys.exit()
schema = [[field.name, str(field.field_type)] for field in table.schema().fields]
show(schema, name, table.scan().to_arrow())
