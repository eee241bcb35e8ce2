"""FILE ID…: a Parquet file as Spark writes it: `at` in 96 bits, ID microseconds after 2024-01-01 for each ID. Prints its size."""

import datetime
import json
import os
import sys

import pyarrow
import pyarrow.parquet

path, *ids = sys.argv[1:]
start = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
times = [start + datetime.timedelta(microseconds=int(identity)) for identity in ids]
table = pyarrow.table(
    {
        "id": pyarrow.array([int(identity) for identity in ids], "int64"),
        "at": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
    }
)
pyarrow.parquet.write_table(table, path, use_deprecated_int96_timestamps=True)
print(json.dumps(os.path.getsize(path)))
