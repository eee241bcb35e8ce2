"""PATH: a Delta table as DuckDB reads it."""

import pathlib
import re
import sys

import duck
from canonical import show

path = sys.argv[1]
commits = [file.name for file in pathlib.Path(path, "_delta_log").iterdir()]
version = max(int(name[:20]) for name in commits if re.fullmatch(r"\d{20}\.json", name))
schema, rows = duck.table(duck.connect("delta"), "delta_scan", path)
show(schema, version, rows)
