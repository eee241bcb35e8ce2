"""PATH VERSION: how many rows the Delta table had at a version, as the deltalake wheel reads it."""

import sys

import pyarrow
from deltalake import DeltaTable, QueryBuilder

table = DeltaTable(sys.argv[1], version=int(sys.argv[2]))
counted = QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t")
print(pyarrow.table(counted.read_all()).column("n")[0].as_py())
