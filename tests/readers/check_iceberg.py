"""CATALOG_FILE CATALOG_NAME NAMESPACE.TABLE: every snapshot, oldest first: its rows as pyiceberg and DuckDB read them, its files."""

import json
import os
import sys

import duck
from canonical import value
from pyiceberg.catalog import load_catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.types import StringType

PATH = 2147483546
file, name, identifier = sys.argv[1:]
os.stat(file)
catalog = load_catalog(name, type="sql", uri=f"sqlite:///{file}", init_catalog_tables="false")
table = catalog.load_table(identifier)
connection = duck.connect("avro", "iceberg")
location = table.metadata_location.removeprefix("file://")


def rows(arrow):
    return [{name: value(cell) for name, cell in row.items()} for row in arrow.to_pylist()]


def bound(bounds):
    return from_bytes(StringType(), bounds[PATH]) if bounds and PATH in bounds else None


for snapshot in sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number):
    files = []
    manifests = snapshot.manifests(table.io)
    for manifest in manifests:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            data = entry.data_file
            files.append(
                {
                    "path": data.file_path,
                    "content": int(data.content),
                    "rows": data.record_count,
                    "bytes": data.file_size_in_bytes,
                    "sequence": entry.sequence_number,
                    "file_sequence": entry.file_sequence_number,
                    "partition": str(data.partition),
                    "lower": bound(data.lower_bounds),
                    "upper": bound(data.upper_bounds),
                }
            )
    by_duckdb = connection.execute(
        f"SELECT * FROM iceberg_scan(?, snapshot_from_id => {snapshot.snapshot_id}::UBIGINT)", [location]
    ).to_arrow_table()
    shown = {
        "operation": snapshot.summary.operation.value,
        "sequence": snapshot.sequence_number,
        "summary": dict(snapshot.summary.additional_properties),
        "list": snapshot.manifest_list,
        "manifests": [manifest.manifest_path for manifest in manifests],
        "rows": rows(table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()),
        "duckdb": rows(by_duckdb),
        "files": files,
    }
    print(json.dumps(shown, ensure_ascii=False))
