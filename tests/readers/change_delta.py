"""PATH COMMAND…: another writer of a Delta table with the columns id, region, n, by the deltalake wheel.

append:ID:REGION:N  delete:PREDICATE  optimize  vacuum  merge:ID:REGION:N  history
"""

import json
import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

path = sys.argv[1]


def rows(identity, region, number):
    schema = pyarrow.schema([("id", "int64"), ("region", "string"), ("n", "int64")])
    return pyarrow.Table.from_pylist([{"id": int(identity), "region": region, "n": int(number)}], schema=schema)


for command in sys.argv[2:]:
    name, *words = command.split(":")
    table = DeltaTable(path)
    if name == "append":
        write_deltalake(table, rows(*words), mode="append")
    elif name == "delete":
        table.delete(words[0])
    elif name == "optimize":
        table.optimize.compact()
    elif name == "vacuum":
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    elif name == "merge":
        merge = table.merge(rows(*words), "target.id = source.id", source_alias="source", target_alias="target")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    elif name == "history":
        for entry in table.history():
            print(json.dumps({key: entry.get(key) for key in ("version", "operation", "operationMetrics")}))
    else:
        raise SystemExit(f"unknown command {name}")
