"""FOLDER: makes Iceberg tables by Spark in FOLDER, each with the rows of each of its snapshots as Spark reads them.

FOLDER/NAME.json has {"metadata": the table's metadata file, "key": its identifier columns, "states": [{"sequence", "operation",
"rows"}]}, rows under the newest names of their columns. Iceberg's metadata names files by absolute paths.

`tests/fixtures/iceberg/tables.tar.gz` is what this made in /tmp/engine-kept-iceberg-1, packed there by
`tar czf tables.tar.gz --exclude=catalog.db --exclude='.*' *`.
"""

import datetime
import json
import pathlib
import sys
import uuid

import pyarrow
import pyarrow.parquet
from canonical import value
from pyspark.sql import Row, SparkSession
from spark_session import start, with_catalog

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
spark = start()
session = with_catalog(spark, "kept", str(folder / "catalog.db"), **{"cache-enabled": "false"})
java = spark._jvm
MODES = "'write.delete.mode'='{0}','write.update.mode'='{0}','write.merge.mode'='{0}'"


def sql(table, *statements):
    for statement in statements:
        session.sql(statement.format(t=f"kept.db.{table}", n=f"db.{table}")).collect()


def create(table, columns, version, mode, partition="", more=""):
    modes = MODES.format(mode) + more
    sql(
        table,
        f"CREATE TABLE {{t}} ({columns}) USING iceberg {partition} "
        f"TBLPROPERTIES ('format-version'='{version}',{modes})",
    )


def load(table):
    own = session._jsparkSession
    # Catalogs are looked for in the active session's settings.
    SparkSession._get_j_spark_session_class(java).setActiveSession(own)
    return java.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(own, f"kept.db.{table}")


def delete_equal(name, columns, partition=None):
    """Deletes rows as streaming writers do: by a file with values, whose rows nobody looked for. `columns` are triples of name,
    Arrow's type and values."""
    table = load(name)
    ids, arrays, fields = [], [], []
    for column, kind, values in columns:
        identity = table.schema().findField(column).fieldId()
        ids.append(identity)
        fields.append(pyarrow.field(column, kind, metadata={"PARQUET:field_id": str(identity)}))
        arrays.append(pyarrow.array(values, kind))
    location = table.locationProvider().newDataLocation(f"{uuid.uuid4()}-equality.parquet")
    file = pathlib.Path(location.removeprefix("file:"))
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(arrays, schema=pyarrow.schema(fields)), file)
    identities = spark.sparkContext._gateway.new_array(java.int, len(ids))
    for at, identity in enumerate(ids):
        identities[at] = identity
    deletes = (
        java.org.apache.iceberg.FileMetadata.deleteFileBuilder(table.spec())
        .ofEqualityDeletes(identities)
        .withPath(location)
        .withFormat("parquet")
        .withFileSizeInBytes(file.stat().st_size)
        .withRecordCount(len(columns[0][2]))
    )
    if partition:
        deletes = deletes.withPartitionPath(partition)
    table.newRowDelta().addDeletes(deletes.build()).commit()


def plain(cell):
    if isinstance(cell, Row):
        return {name: plain(inner) for name, inner in cell.asDict().items()}
    if isinstance(cell, list):
        return [plain(inner) for inner in cell]
    if isinstance(cell, dict):
        return [[plain(name), plain(inner)] for name, inner in cell.items()]
    if isinstance(cell, datetime.datetime):
        # Spark shows instants in the session's zone, without saying so.
        return value(cell.replace(tzinfo=datetime.timezone.utc))
    return value(cell)


def keep(name):
    """Writes what the table was at each snapshot."""
    table = load(name)
    newest = {field.fieldId(): field.name() for field in table.schema().columns()}
    states, snapshot = [], table.currentSnapshot()
    while snapshot is not None:
        then = {field.fieldId(): field.name() for field in table.schemas().get(snapshot.schemaId()).columns()}
        frame = session.sql(f"SELECT * FROM kept.db.{name} VERSION AS OF {snapshot.snapshotId()}")
        rows = []
        for row in frame.collect():
            cells = row.asDict()
            rows.append({new: plain(cells[then[id]]) if id in then else None for id, new in newest.items()})
        states.append({"sequence": snapshot.sequenceNumber(), "operation": snapshot.operation(), "rows": rows})
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    kept = {
        "metadata": table.operations().current().metadataFileLocation(),
        "key": sorted(newest[id] for id in table.schema().identifierFieldIds()),
        "states": states[::-1],
    }
    (folder / f"{name}.json").write_text(json.dumps(kept, ensure_ascii=False))


PEOPLE = "id BIGINT NOT NULL, name STRING, amount DECIMAL(9,2), at TIMESTAMP"
ROWS = (
    "INSERT INTO {{t}} SELECT id, CASE WHEN id % 7 = 0 THEN NULL ELSE concat('n', id % 5) END, "
    "CAST(id * 1.25 AS DECIMAL(9,2)), TIMESTAMP '2024-02-29 12:00:00.000001' + make_interval(0, 0, 0, id) "
    "FROM range({0}, {1})"
)
CHANGES = [
    ROWS.format(0, 40),
    ROWS.format(40, 60),
    "UPDATE {t} SET name = 'changed' WHERE id % 10 = 3",
    "DELETE FROM {t} WHERE id % 10 = 4",
    "MERGE INTO {t} t USING (SELECT id, 'merged' AS name FROM range(50, 64)) s ON t.id = s.id "
    "WHEN MATCHED AND s.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET name = s.name "
    "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)",
    # Nothing that differs.
    "UPDATE {t} SET name = name WHERE id < 5",
    "DELETE FROM {t} WHERE id IN (1, 3, 13)",
]
COMPACT = "CALL kept.system.rewrite_data_files(table => '{n}', options => map('rewrite-all', 'true'))"

for name, version, mode in [("copied", 2, "copy-on-write"), ("merged", 2, "merge-on-read"), ("vectors", 3, "merge-on-read")]:
    create(name, PEOPLE, version, mode, more=",'write.delete.granularity'='partition'")
    sql(name, "ALTER TABLE {t} SET IDENTIFIER FIELDS id", *CHANGES, COMPACT)
    sql(name, "DELETE FROM {t} WHERE id % 6 = 5", "INSERT OVERWRITE {t} SELECT * FROM {t} WHERE id < 30")
    sql(name, "UPDATE {t} SET amount = amount + 1 WHERE id < 3", "DELETE FROM {t} WHERE true", ROWS.format(0, 3))
    keep(name)

create("evolved", "id BIGINT, part STRING, small INT, rough FLOAT, gone STRING", 2, "merge-on-read", "PARTITIONED BY (part)")
FIVE = "INSERT INTO {{t}} SELECT id, concat('p', id % 3), CAST(id AS INT), CAST(id / 2 AS FLOAT), 'x' FROM range({0}, {1})"
sql(
    "evolved",
    FIVE.format(0, 9),
    "DELETE FROM {t} WHERE id = 4",
    "ALTER TABLE {t} ALTER COLUMN small TYPE BIGINT",
    "ALTER TABLE {t} ALTER COLUMN rough TYPE DOUBLE",
    "ALTER TABLE {t} RENAME COLUMN small TO large",
    "ALTER TABLE {t} DROP PARTITION FIELD part",
    "ALTER TABLE {t} ADD PARTITION FIELD bucket(2, id)",
    FIVE.format(9, 18),
    "UPDATE {t} SET large = 100 WHERE id IN (2, 12)",
    "ALTER TABLE {t} DROP COLUMN gone",
    "ALTER TABLE {t} ADD COLUMN gone STRUCT<a: INT, b: ARRAY<STRING>>",
    "ALTER TABLE {t} ADD COLUMN pairs MAP<STRING, INT>",
    "INSERT INTO {t} VALUES (20, 'p0', 1, 0.5, named_struct('a', 1, 'b', array('x', NULL)), map('k', 7)), (21, NULL, NULL, NULL, NULL, NULL)",
    "UPDATE {t} SET rough = 9.5 WHERE id IN (1, 10, 20)",
    "INSERT OVERWRITE {t} SELECT * FROM {t} WHERE id % 2 = 0",
    "DELETE FROM {t} WHERE id > 15",
)
keep("evolved")

create("streamed", "id BIGINT, name STRING, n INT", 2, "merge-on-read")
TWO = "INSERT INTO {{t}} SELECT id, CASE WHEN id % 4 = 0 THEN NULL ELSE concat('n', id % 6) END, CAST(id AS INT) FROM range({0}, {1})"
sql("streamed", TWO.format(0, 20))
delete_equal("streamed", [("id", "int64", [3, 5, 99])])
sql("streamed", "INSERT INTO {t} VALUES (3, 'again', 1), (30, NULL, 2)", "DELETE FROM {t} WHERE id = 7")
# One is deleted by its position, one by its value, one is there again.
delete_equal("streamed", [("id", "int64", [7, 5, 3, 8])])
delete_equal("streamed", [("name", "string", [None, "n1"])])
sql("streamed", TWO.format(40, 48))
delete_equal("streamed", [("name", "string", ["n5", None]), ("id", "int64", [41, 44])])
# By nobody's key.
delete_equal("streamed", [("id", "int64", [1000])])
sql("streamed", COMPACT, "DELETE FROM {t} WHERE id = 9")
keep("streamed")

create("parted", "id BIGINT, name STRING, part STRING", 2, "merge-on-read", "PARTITIONED BY (part)")
sql("parted", "INSERT INTO {t} SELECT id, concat('n', id), concat('p', id % 2) FROM range(0, 10)")
delete_equal("parted", [("id", "int64", [2, 3, 4])], "part=p0")
sql("parted", "ALTER TABLE {t} DROP PARTITION FIELD part")
delete_equal("parted", [("id", "int64", [6, 7])])
sql("parted", "INSERT INTO {t} VALUES (6, 'back', 'p0')", "DELETE FROM {t} WHERE id IN (8, 9)")
keep("parted")

create("upgraded", "id BIGINT, name STRING", 1, "copy-on-write")
sql("upgraded", "INSERT INTO {t} VALUES (1, 'a'), (2, 'b')", "INSERT INTO {t} VALUES (3, 'c')")
sql("upgraded", "ALTER TABLE {t} SET TBLPROPERTIES ('format-version'='2')", "DELETE FROM {t} WHERE id = 1")
sql("upgraded", "INSERT INTO {t} VALUES (4, 'd')")
keep("upgraded")
spark.stop()
