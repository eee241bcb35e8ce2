"""One Spark that is asked on standard input, a JSON object a line, and answers in JSON lines, until the input ends.

{"ask": "read", …} is a request of read_spark.py, and answered as there.

{"ask": "run", "at": a table as in such a request, "statement": SQL, "tries": N} runs a statement. {"attempt": N} is printed
when an attempt begins, then {"rows": […], "conflicts": […]}: what it returned, and why attempts lost against other writers.

{"ask": "equality_delete", "at": …, "column": NAME, "values": [BIGINT…]} deletes rows of an Iceberg table as streaming writers
do: by a file with values, whose rows nobody looked for. {"path": …} is that file.

What fails otherwise is {"error": …}.
"""

import json
import os
import pathlib
import sys
import uuid

import pyarrow
import pyarrow.parquet
from canonical import line, value
from pyspark.sql import SparkSession
from spark_session import start, with_catalog
from spark_tables import show

# Another writer was faster: by the classes of Delta, of Iceberg and of the SQL catalog.
CONFLICTS = (
    "DELTA_CONCURRENT_",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "org.apache.iceberg.exceptions.ValidationException",
    "org.apache.iceberg.exceptions.CommitFailedException",
    "SQLITE_BUSY",
    # Between the planning of a scan and its execution, nothing was written.
    "the table has been concurrently modified",
)
sessions = {}


def say(answer):
    print(line(answer), flush=True)


def session_of(table):
    """The session that knows the table's catalog. Nothing is kept of a table: others write to it."""
    if table["format"] == "delta":
        return spark
    file = table["catalog"]
    os.stat(file)  # SQLite would make a file that is not there
    if file not in sessions:
        more = {"jdbc.init-catalog-tables": "false", "cache-enabled": "false"}
        sessions[file] = with_catalog(spark, table["name"], file, **more)
    return sessions[file]


def run(request):
    session, conflicts = session_of(request["at"]), []
    for number in range(1, request["tries"] + 1):
        say({"attempt": number})
        try:
            rows = session.sql(request["statement"]).collect()
        except Exception as error:
            if number == request["tries"] or not any(word in str(error) for word in CONFLICTS):
                raise
            conflicts.append(str(error).splitlines()[0])
            continue
        cells = [{name: value(cell) for name, cell in row.asDict().items()} for row in rows]
        return say({"rows": cells, "conflicts": conflicts})


def equality_delete(request):
    at, java = request["at"], spark._jvm
    session = session_of(at)._jsparkSession
    # Catalogs are looked for in the active session's settings.
    SparkSession._get_j_spark_session_class(java).setActiveSession(session)
    table = java.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(session, f"{at['name']}.{at['table']}")
    identity = table.schema().findField(request["column"]).fieldId()
    column = pyarrow.field(request["column"], "int64", metadata={"PARQUET:field_id": str(identity)})
    rows = pyarrow.table([request["values"]], schema=pyarrow.schema([column]))
    location = table.locationProvider().newDataLocation(f"{uuid.uuid4()}-equality.parquet")
    file = pathlib.Path(location.removeprefix("file:"))
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(rows, file)
    identities = spark.sparkContext._gateway.new_array(java.int, 1)
    identities[0] = identity
    deletes = (
        java.org.apache.iceberg.FileMetadata.deleteFileBuilder(table.spec())
        .ofEqualityDeletes(identities)
        .withPath(location)
        .withFormat("parquet")
        .withFileSizeInBytes(file.stat().st_size)
        .withRecordCount(rows.num_rows)
        .build()
    )
    table.newRowDelta().addDeletes(deletes).commit()
    say({"path": location})


def read(request):
    show(spark, request)
    sys.stdout.flush()


# Spark's own console output (VACUUM has some) goes where its log goes.
answers = os.dup(1)
os.dup2(2, 1)
sys.stdout = os.fdopen(answers, "w", encoding="utf-8")
spark = start()
for text in sys.stdin:
    request = json.loads(text)
    try:
        {"run": run, "read": read, "equality_delete": equality_delete}[request["ask"]](request)
    except Exception as error:
        say({"error": str(error)})
spark.stop()
