"""FOLDER [NAME…]: Delta tables as Spark writes them (those, or all), each NAME/ with what changed in NAME.jsonl beside it.

The first line of such a file says {"newest": version, "columns": […], "since": the first version that Spark's own feed knows}. Each
other line is a changed row with `_change_type` and `_commit_version`: as `table_changes` gives it, or, before `since`, what two
reads of the whole table differ by. Rows stand in no order.
"""

import json
import pathlib
import shutil
import sys

from canonical import line, value
from spark_session import start

FEED = "'delta.enableChangeDataFeed' = 'true'"
MARKS = "'delta.enableDeletionVectors' = 'true'"
NO_MARKS = "'delta.enableDeletionVectors' = 'false'"
DECIMAL = "CAST(id AS DECIMAL(9, 2)) / 4"


def rows(first, after, region="CASE id % 3 WHEN 0 THEN 'eu' WHEN 1 THEN 'us' END"):
    """Rows of `id`, `region`, `n`, in one file."""
    return f"SELECT /*+ COALESCE(1) */ id, {region} AS region, id * 10 AS n FROM range({first}, {after}, 1, 1)"


PLAIN_MERGE = """MERGE INTO {t} t USING (SELECT id, 'merged' AS region, id AS n FROM range({first}, {after}, 1, 1)) s ON t.id = s.id
    WHEN MATCHED AND s.id % 4 = 0 THEN DELETE
    WHEN MATCHED THEN UPDATE SET t.region = s.region, t.n = s.n
    WHEN NOT MATCHED THEN INSERT (id, region, n) VALUES (s.id, s.region, s.n)"""

TABLES = {
    "plain": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta TBLPROPERTIES ({FEED}, {NO_MARKS})",
        "INSERT INTO {t} " + rows(0, 20),
        "INSERT INTO {t} " + rows(20, 24),
        "UPDATE {t} SET n = n + 1 WHERE id % 5 = 0",
        "DELETE FROM {t} WHERE id % 7 = 3",
        PLAIN_MERGE.replace("{first}", "10").replace("{after}", "30"),
        "OPTIMIZE {t}",
        "ALTER TABLE {t} ADD COLUMNS (note STRING)",
        "UPDATE {t} SET note = concat('n', n) WHERE id < 3",
        "INSERT INTO {t} VALUES (100, 'eu', 1, 'late')",
        "INSERT OVERWRITE {t} SELECT id, region, n, note FROM {t} WHERE id > 15",
        "DELETE FROM {t}",
        "INSERT INTO {t} VALUES (1, NULL, NULL, NULL)",
    ],
    "partitioned": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta PARTITIONED BY (region) TBLPROPERTIES ({FEED}, {NO_MARKS})",
        "INSERT INTO {t} " + rows(0, 12),
        "INSERT INTO {t} VALUES (20, 'a b/ü%=1', 1), (21, 'a b/ü%=1', 2), (22, '', 3)",
        "UPDATE {t} SET n = 0 WHERE region = 'eu'",
        "UPDATE {t} SET region = 'moved' WHERE id IN (1, 3, 20)",
        "DELETE FROM {t} WHERE region = 'us'",
        "DELETE FROM {t} WHERE id = 21",
        PLAIN_MERGE.replace("{first}", "3").replace("{after}", "9"),
    ],
    "marked": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta TBLPROPERTIES ({FEED}, {MARKS})",
        "INSERT INTO {t} " + rows(0, 40),
        "DELETE FROM {t} WHERE id IN (0, 7, 39)",
        "DELETE FROM {t} WHERE id IN (8, 9)",
        "UPDATE {t} SET n = -1 WHERE id IN (10, 11)",
        PLAIN_MERGE.replace("{first}", "12").replace("{after}", "20"),
        "RESTORE TABLE {t} TO VERSION AS OF 2",
        "DELETE FROM {t} WHERE id < 30",
        "OPTIMIZE {t}",
        "DELETE FROM {t}",
    ],
    "marked_without_feed": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta PARTITIONED BY (region) TBLPROPERTIES ({MARKS})",
        "INSERT INTO {t} " + rows(0, 40),
        "DELETE FROM {t} WHERE id IN (0, 7, 39)",
        "UPDATE {t} SET n = -1 WHERE id IN (10, 11)",
        PLAIN_MERGE.replace("{first}", "12").replace("{after}", "20"),
        "DELETE FROM {t} WHERE id BETWEEN 20 AND 30",
    ],
    "mapped": [
        f"""CREATE TABLE {{t}} (id BIGINT, region STRING, nested STRUCT<a: BIGINT, b: STRING>, list ARRAY<STRUCT<x: INT>>, pairs MAP<STRING, INT>)
            USING delta PARTITIONED BY (region) TBLPROPERTIES ({FEED}, {NO_MARKS}, 'delta.columnMapping.mode' = 'name')""",
        """INSERT INTO {t} SELECT id, CASE WHEN id < 3 THEN 'eu' END, struct(id, concat('b', id)), array(struct(CAST(id AS INT)), NULL),
            map('k', CAST(id AS INT)) FROM range(0, 6, 1, 1)""",
        "UPDATE {t} SET nested.b = 'changed' WHERE id = 2",
        "ALTER TABLE {t} RENAME COLUMN id TO `the id`",
        "ALTER TABLE {t} RENAME COLUMN nested.a TO c",
        "ALTER TABLE {t} RENAME COLUMN region TO place",
        "DELETE FROM {t} WHERE `the id` = 4",
        "ALTER TABLE {t} ADD COLUMNS (note STRING)",
        "INSERT INTO {t} VALUES (9, 'us', struct(9, 'nine'), NULL, NULL, 'new')",
        "UPDATE {t} SET note = 'all'",
    ],
    "mapped_by_id": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta TBLPROPERTIES ({FEED}, {MARKS}, 'delta.columnMapping.mode' = 'id')",
        "INSERT INTO {t} " + rows(0, 10),
        "ALTER TABLE {t} RENAME COLUMN n TO number",
        "DELETE FROM {t} WHERE id < 3",
        "UPDATE {t} SET number = 0 WHERE id = 5",
    ],
    "late": [
        f"CREATE TABLE {{t}} (id BIGINT, region STRING, n BIGINT) USING delta TBLPROPERTIES ({NO_MARKS})",
        "INSERT INTO {t} " + rows(0, 20),
        "INSERT INTO {t} VALUES (3, 'us', 30), (3, 'us', 30)",
        "UPDATE {t} SET n = 5 WHERE id = 3 AND region = 'eu'",
        "DELETE FROM {t} WHERE id % 5 = 0",
        PLAIN_MERGE.replace("{first}", "15").replace("{after}", "22"),
        f"ALTER TABLE {{t}} SET TBLPROPERTIES ({FEED})",
        "UPDATE {t} SET n = 6 WHERE id < 4",
        "DELETE FROM {t} WHERE id = 1",
    ],
    "types": [
        f"""CREATE TABLE {{t}} (id INT, small SMALLINT, tiny TINYINT, real FLOAT, double DOUBLE, flag BOOLEAN, money DECIMAL(20, 4), short DECIMAL(5, 2),
            day DATE, at TIMESTAMP, local TIMESTAMP_NTZ, bytes BINARY, text STRING, part TIMESTAMP, due DATE)
            USING delta PARTITIONED BY (part, due) TBLPROPERTIES ({FEED}, {MARKS}, 'delta.feature.timestampNtz' = 'supported')""",
        """INSERT INTO {t} SELECT CAST(id AS INT), CAST(id AS SMALLINT), CAST(-id AS TINYINT), CAST(id AS FLOAT) / 4, CAST(id AS DOUBLE) / 8,
            id % 2 = 0, CAST(id AS DECIMAL(20, 4)) * 1.5, CAST(-id AS DECIMAL(5, 2)), date_add(DATE '1600-01-01', CAST(id * 100000 AS INT)),
            timestamp_micros(id * 1000000000000001 - 12000000000000000), TIMESTAMP_NTZ '0001-01-01 00:00:00.000001', unhex('00ff'),
            concat('täxt', id), TIMESTAMP '2024-02-03 04:05:06.789', DATE '1969-12-31' FROM range(0, 6, 1, 1)""",
        "INSERT INTO {t} (id) VALUES (99)",
        "UPDATE {t} SET text = NULL, part = NULL WHERE id = 2",
        "DELETE FROM {t} WHERE id = 99 OR id = 3",
    ],
}


def cells(frame):
    for row in frame.toArrow().to_pylist():
        yield {name: value(cell) for name, cell in row.items()}


def differences(spark, path, version):
    """What two reads of the whole table differ by. Columns of the newest version; tables whose columns changed are not asked."""
    columns = ", ".join(f"`{field.name}`" for field in spark.table(f"delta.`{path}`").schema.fields)
    at = [f"SELECT {columns} FROM delta.`{path}` VERSION AS OF {v}" for v in (version - 1, version)]
    for word, (one, other) in (("delete", at), ("insert", at[::-1])):
        for row in cells(spark.sql(f"{one} EXCEPT ALL {other}")):
            yield row | {"_change_type": word, "_commit_version": version}


def make(spark, folder, name, statements):
    path = folder / name
    for statement in statements:
        spark.sql(statement.replace("{t}", f"delta.`{path}`"))
    newest = spark.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1").first().version
    since = 0
    for version in range(newest + 1):
        with open(path / "_delta_log" / f"{version:020}.json", encoding="utf-8") as log:
            settings = [json.loads(text).get("metaData", {}).get("configuration") for text in log]
        if any(found is not None and "delta.enableChangeDataFeed" not in found for found in settings):
            since = None
        elif since is None and any(found and "delta.enableChangeDataFeed" in found for found in settings):
            since = version
    told = []
    if since is not None:
        feed = spark.sql(f"SELECT * FROM table_changes_by_path('{path}', {since})")
        told = list(cells(feed.drop("_commit_timestamp")))
    for version in range(1, newest + 1 if since is None else since):
        told.extend(differences(spark, path, version))
    columns = [field.name for field in spark.table(f"delta.`{path}`").schema.fields]
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
        print(line({"newest": newest, "columns": columns, "since": since}), file=out)
        for row in sorted(told, key=lambda row: (row["_commit_version"], line(row))):
            print(line(row), file=out)
    for checksum in path.rglob("*.crc"):
        checksum.unlink()
    shutil.rmtree(path / "_delta_log" / "_staged_commits", ignore_errors=True)


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
spark = start()
spark.conf.set("spark.sql.shuffle.partitions", "1")
# Columns were renamed in the range: a batch must be told that this is known.
spark.conf.set("spark.databricks.delta.changeDataFeed.unsafeBatchReadOnIncompatibleSchemaChanges.enabled", "true")
for name in sys.argv[2:] or TABLES:
    make(spark, folder, name, TABLES[name])
spark.stop()
