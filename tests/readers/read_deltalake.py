"""PATH: a Delta table as the deltalake wheel reads it."""

import json
import sys

import pyarrow
from deltalake import DeltaTable, QueryBuilder

from canonical import show

table = DeltaTable(sys.argv[1])
fields = json.loads(table.schema().to_json())["fields"]
kinds = [(field["name"], field["type"]) for field in fields]
schema = [[name, kind if isinstance(kind, str) else json.dumps(kind)] for name, kind in kinds]
rows = pyarrow.table(QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all())
show(schema, table.version(), rows)
