"""FOLDER KEY: a table with a history, made by pyiceberg in the catalog FOLDER/catalog.db; KEY is its identifier column, or `-`;
`large`: a table of one file of eight row groups instead.

Prints one line a snapshot: {"sequence", "operation", "rows"}, the rows under the newest names of their columns.
"""

import json
import sys

import pyarrow as pa
from canonical import value
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IntegerType, ListType, LongType, MapType, NestedField, StringType, StructType, TimestamptzType

folder, key = sys.argv[1:]
catalog = load_catalog("lake", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
catalog.create_namespace("analytics")
schema = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "region", StringType(), required=False),
    NestedField(3, "n", LongType(), required=False),
    identifier_field_ids=[1] if key == "id" else [],
)
if key == "large":
    large = pa.table(
        [pa.array(range(400_000), "int64"), pa.array([str(hash((at, 7))) for at in range(400_000)]), pa.array([at * 7 for at in range(400_000)], "int64")],
        schema=pa.schema([pa.field("id", "int64", nullable=False), pa.field("region", "string"), pa.field("n", "int64")]),
    )
    properties = {"write.parquet.row-group-limit": "50000"}
    catalog.create_table("analytics.customers", schema, properties=properties).append(large)
    sys.exit()
table = catalog.create_table("analytics.customers", schema)


def rows(*triples, **more):
    names = [table.schema().find_column_name(at) for at in (1, 2, 3)]
    fields = [pa.field(name, kind, nullable=at > 0) for at, (name, kind) in enumerate(zip(names, ["int64", "string", "int64"]))]
    columns = [list(column) for column in zip(*triples)]
    for name, (kind, values) in more.items():
        fields.append(pa.field(name, kind))
        columns.append(values)
    schema = pa.schema(fields)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, fields)], schema=schema)


table.append(rows(*[(at, "eu", at * 10) for at in range(10)]))
table.append(rows(*[(at, "us", None) for at in range(10, 15)]))
table.delete("id == 3")
table.overwrite(rows((4, "eu", 41), (5, "eu", 50)), overwrite_filter="id == 4 or id == 5")
table.upsert(rows((6, "eu", 60), (7, "eu", 71), (99, None, 1)), join_cols=["id"])
with table.update_schema() as update:
    update.add_column("extra", IntegerType())
table.append(rows((20, "us", 1), (21, None, None), extra=("int32", [5, None])))
with table.update_schema() as update:
    update.rename_column("n", "amount")
table.overwrite(rows((8, "moved", 8), extra=("int32", [8])), overwrite_filter="id == 8")
with table.update_schema() as update:
    update.update_column("extra", LongType())
with table.update_spec() as update:
    update.add_field("region", IdentityTransform())
table.append(rows((30, "us", 1), (31, "eu", 2), (32, None, 3), extra=("int64", [1 << 40, 2, 3])))
table.delete("region == 'us' and id < 12")
with table.update_spec() as update:
    update.remove_field("region")
    update.add_field("amount", IdentityTransform())
with table.update_schema() as update:
    update.add_column("info", StructType(NestedField(100, "a", LongType(), required=False), NestedField(101, "b", StringType(), required=False)))
    update.add_column("tags", ListType(102, StringType(), element_required=False))
    update.add_column("seen", TimestamptzType())
    update.add_column("pairs", MapType(103, StringType(), 104, LongType(), value_required=False))
info = pa.struct([("a", "int64"), ("b", "string")])
more = {
    "extra": ("int64", [None, 1]),
    "info": (info, [{"a": 1, "b": "x"}, None]),
    "tags": (pa.list_(pa.string()), [["p", None], []]),
    "seen": (pa.timestamp("us", "UTC"), [1_709_208_000_000_001, None]),
    "pairs": (pa.map_(pa.string(), pa.int64()), [[("k", 1)], None]),
}
table.append(rows((40, "us", 1), (41, "us", 2), **more))
with table.update_schema() as update:
    update.rename_column("info.a", "c")
table.delete("id == 41 or id == 9")
with table.update_schema() as update:
    update.delete_column("extra")
table.delete("id >= 30 and id < 40")
table.delete("id >= 0")


def plain(cell, then, newest):
    """A cell of an older schema under the newest names."""
    if cell is None or not isinstance(newest, StructType):
        return value(cell)
    names = {field.field_id: field for field in then.fields}
    return {
        field.name: plain(cell[names[field.field_id].name], names[field.field_id].field_type, field.field_type)
        if field.field_id in names
        else None
        for field in newest.fields
    }


newest = table.schema().as_struct()
for snapshot in sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number):
    then = table.metadata.schema_by_id(snapshot.schema_id).as_struct()
    read = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().to_pylist()
    shown = {
        "sequence": snapshot.sequence_number,
        "operation": snapshot.summary.operation.value,
        "rows": [plain(row, then, newest) for row in read],
    }
    print(json.dumps(shown, ensure_ascii=False))
