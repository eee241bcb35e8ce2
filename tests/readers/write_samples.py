"""FOLDER: one small Iceberg and one small Delta table by other writers, to try the readers on."""

import pathlib
import sys

from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

import samples

folder = pathlib.Path(sys.argv[1])
rows = samples.rows()
write_deltalake(folder / "delta", rows)
catalog = load_catalog(
    "samples", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
)
catalog.create_namespace("n")
catalog.create_table("n.t", rows.schema).append(rows)
