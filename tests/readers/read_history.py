"""PATH: the version history of a Delta table as the deltalake wheel tells it, oldest first, one commit a line."""

import sys

from deltalake import DeltaTable

from canonical import line

sys.stdout.reconfigure(encoding="utf-8")
for commit in reversed(DeltaTable(sys.argv[1]).history()):
    print(line(commit))
