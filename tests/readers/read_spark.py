"""REQUESTS: tables as Spark reads them, one JSON object a line in a file.

Delta: {"format": "delta", "path": …, "changes_from": null or a version}; Iceberg: {"format": "iceberg", "catalog":
SQLite file, "name": its catalog's name, "table": "namespace.table"}; both: "without": columns to leave out. Each table
is a header with the number of its rows, and the rows.
"""

import json
import sys

from spark_session import start
from spark_tables import show

sys.stdout.reconfigure(encoding="utf-8")
with open(sys.argv[1], encoding="utf-8") as file:
    requests = [json.loads(text) for text in file]
spark = start()
for request in requests:
    show(spark, request)
spark.stop()
