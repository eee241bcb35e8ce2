"""Tables as Spark reads them; a request is what read_spark.py says."""

import os

from canonical import line, order, value
from spark_session import with_catalog


def iceberg(spark, request):
    os.stat(request["catalog"])  # SQLite would make a file that is not there
    more = {"jdbc.init-catalog-tables": "false"}
    session = with_catalog(spark, request["name"], request["catalog"], **more)
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
    """Prints a header with the number of rows, and the rows."""
    read = iceberg if request["format"] == "iceberg" else delta
    frame, version = read(spark, request)
    frame = frame.drop(*request["without"])
    schema = [[field.name, field.dataType.simpleString()] for field in frame.schema.fields]
    cells = frame.toArrow().to_pylist()
    rows = [{name: value(cell) for name, cell in row.items()} for row in cells]
    print(line({"schema": schema, "version": version, "rows": len(rows)}))
    for row in sorted(rows, key=order):
        print(line(row))
