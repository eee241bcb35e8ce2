"""REQUESTS: tables as Spark reads them, one JSON object a line in a file.

Delta: {"format": "delta", "path": …, "changes_from": null or a version}; Iceberg: {"format": "iceberg", "catalog":
SQLite file, "name": its catalog's name, "table": "namespace.table"}; both: "without": columns to leave out. Each table
is a header with the number of its rows, and the rows.
"""

import json
import os
import pathlib
import sys

from pyspark.sql import SparkSession

from canonical import line, order, value

EXTENSIONS = [
    "io.delta.sql.DeltaSparkSessionExtension",
    "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
]
SETTINGS = {
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.warehouse.dir": os.getcwd(),
    "spark.sql.extensions": ",".join(EXTENSIONS),
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def start():
    jars = sorted(pathlib.Path(os.environ["SPARK_JARS"]).glob("*.jar"))
    builder = SparkSession.builder.master("local[2]").config("spark.jars", ",".join(map(str, jars)))
    for name, setting in SETTINGS.items():
        builder = builder.config(name, setting)
    return builder.getOrCreate()


def iceberg(spark, request):
    """Spark's name of a catalog is what the catalog's rows are found by: a session for each table."""
    os.stat(request["catalog"])  # SQLite would make a file that is not there
    prefix = f"spark.sql.catalog.{request['name']}"
    session = spark.newSession()
    for name, setting in {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{prefix}.uri": f"jdbc:sqlite:{request['catalog']}",
        f"{prefix}.warehouse": pathlib.Path(request["catalog"]).parent.as_uri(),
        f"{prefix}.jdbc.init-catalog-tables": "false",
    }.items():
        session.conf.set(name, setting)
    table = f"{request['name']}.{request['table']}"
    files = session.sql(
        f"SELECT file FROM {table}.metadata_log_entries ORDER BY timestamp DESC, file DESC LIMIT 1"
    )
    return session.table(table), files.first().file.rsplit("/", 1)[1]


def delta(spark, request):
    reader = spark.read.format("delta")
    if request["changes_from"] is not None:
        reader = reader.option("readChangeFeed", "true")
        reader = reader.option("startingVersion", request["changes_from"])
    history = spark.sql(f"DESCRIBE HISTORY delta.`{request['path']}` LIMIT 1")
    rows = reader.load(request["path"]).drop("_commit_timestamp")
    return rows, history.first().version


def show(spark, request):
    read = iceberg if request["format"] == "iceberg" else delta
    frame, version = read(spark, request)
    frame = frame.drop(*request["without"])
    schema = [[field.name, field.dataType.simpleString()] for field in frame.schema.fields]
    cells = frame.toArrow().to_pylist()
    rows = [{name: value(cell) for name, cell in row.items()} for row in cells]
    print(line({"schema": schema, "version": version, "rows": len(rows)}))
    for row in sorted(rows, key=order):
        print(line(row))


sys.stdout.reconfigure(encoding="utf-8")
with open(sys.argv[1], encoding="utf-8") as file:
    requests = [json.loads(text) for text in file]
spark = start()
for request in requests:
    show(spark, request)
spark.stop()
