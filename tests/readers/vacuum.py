"""PATH: removes every file of a Delta table's folder that the table does not need, at once."""

import sys

from deltalake import DeltaTable

DeltaTable(sys.argv[1]).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
