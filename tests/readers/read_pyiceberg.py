"""CATALOG_FILE CATALOG_NAME NAMESPACE.TABLE: an Iceberg table as pyiceberg reads it."""

import os
import sys

from pyiceberg.catalog import load_catalog

from canonical import show

file, name, identifier = sys.argv[1:]
os.stat(file)  # SQLite would make a file that is not there
catalog = load_catalog(name, type="sql", uri=f"sqlite:///{file}", init_catalog_tables="false")
table = catalog.load_table(identifier)
schema = [[field.name, str(field.field_type)] for field in table.schema().fields]
show(schema, os.path.basename(table.metadata_location), table.scan().to_arrow())
