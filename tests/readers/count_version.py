"""PATH VERSION: how many rows the Delta table had at a version, as the deltalake wheel reads it."""

import json
import sys

from deltalake import DeltaTable

table = DeltaTable(sys.argv[1], version=int(sys.argv[2]))
print(json.dumps(table.to_pyarrow_table().num_rows))
