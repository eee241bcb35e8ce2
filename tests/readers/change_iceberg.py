"""CATALOG_FILE CATALOG_NAME NAMESPACE.TABLE COMMAND…: another writer of a table with the columns id, region, n, by pyiceberg.

append:ID:REGION:N  delete:PREDICATE  overwrite:PREDICATE:ID:REGION:N  column:NAME  partition:COLUMN:identity|bucket
set:PROPERTY:VALUE
"""

import os
import sys

import pyarrow
from pyiceberg.catalog import load_catalog
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import LongType

file, name, identifier, *commands = sys.argv[1:]
os.stat(file)


def rows(identity, region, number):
    schema = pyarrow.schema([("id", "int64"), ("region", "string"), ("n", "int64")])
    return pyarrow.Table.from_pylist([{"id": int(identity), "region": region, "n": int(number)}], schema=schema)


for command in commands:
    verb, *words = command.split(":")
    catalog = load_catalog(name, type="sql", uri=f"sqlite:///{file}", init_catalog_tables="false")
    table = catalog.load_table(identifier)
    if verb == "append":
        table.append(rows(*words))
    elif verb == "delete":
        table.delete(words[0])
    elif verb == "overwrite":
        table.overwrite(rows(*words[1:]), overwrite_filter=words[0])
    elif verb == "column":
        with table.update_schema() as update:
            update.add_column(words[0], LongType())
    elif verb == "partition":
        transform = BucketTransform(4) if words[1] == "bucket" else IdentityTransform()
        with table.update_spec() as update:
            update.add_field(words[0], transform)
    elif verb == "set":
        with table.transaction() as transaction:
            transaction.set_properties({words[0]: words[1]})
    else:
        raise SystemExit(f"unknown command {verb}")
