"""write|read URL NAMESPACE.TABLE [NAME=VALUE…]: a table of an Iceberg REST catalog through pyiceberg.

`write` makes it with the rows of `samples.py`; both print it. The properties are the client's.
"""

import os
import sys

from pyiceberg.catalog import load_catalog

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
schema = [[field.name, str(field.field_type)] for field in table.schema().fields]
show(schema, os.path.basename(table.metadata_location), table.scan().to_arrow())
