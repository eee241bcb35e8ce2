"""PATH FIRST: the change data feed of a Delta table from version FIRST on, as the deltalake wheel reads it."""

import sys

import pyarrow
from deltalake import DeltaTable

from canonical import show

table = DeltaTable(sys.argv[1])
rows = pyarrow.table(table.load_cdf(starting_version=int(sys.argv[2])).read_all())
show([[field.name, str(field.type)] for field in rows.schema], table.version(), rows)
