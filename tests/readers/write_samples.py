"""FOLDER: one small Iceberg and one small Delta table by other writers, to try the readers on."""

import datetime
import decimal
import pathlib
import sys

import pyarrow
from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

folder = pathlib.Path(sys.argv[1])
utc = datetime.timezone.utc
rows = pyarrow.table(
    {
        "id": pyarrow.array([2, 1], pyarrow.int64()),
        "amount": pyarrow.array([decimal.Decimal("-0.05"), None], pyarrow.decimal128(12, 2)),
        "at": pyarrow.array(
            [datetime.datetime(2026, 11, 22, 10, 7, 32, 270388, utc), None],
            pyarrow.timestamp("us", "UTC"),
        ),
        "local": pyarrow.array(
            [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), None], pyarrow.timestamp("us")
        ),
        "_partition": pyarrow.array([0, 0], pyarrow.int32()),
        "_offset": pyarrow.array([8, 7], pyarrow.int64()),
    }
)
write_deltalake(folder / "delta", rows)
catalog = load_catalog(
    "samples", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
)
catalog.create_namespace("n")
catalog.create_table("n.t", rows.schema).append(rows)
