"""PATH: whether the change feed of a Delta table, as the deltalake wheel reads it, leads from each version to the next.

One line a version: how many rows of each kind the feed has, and what is wrong ("" if nothing).
"""

import collections
import json
import sys

import pyarrow
from deltalake import DeltaTable, QueryBuilder

from canonical import line, value

path = sys.argv[1]
latest = DeltaTable(path).version()
extra = ("_change_type", "_commit_version", "_commit_timestamp")


def rows(arrow):
    return [{name: value(cell) for name, cell in row.items()} for row in arrow.to_pylist()]


def spelt(row):
    return line({name: row[name] for name in sorted(row) if name not in extra})


def state(version):
    query = QueryBuilder().register("t", DeltaTable(path, version=version)).execute("SELECT * FROM t")
    return collections.Counter(spelt(row) for row in rows(pyarrow.table(query.read_all())))


feed = collections.defaultdict(list)
table = DeltaTable(path)
changes = pyarrow.table(table.load_cdf(starting_version=1, ending_version=latest, allow_out_of_range=True).read_all())
for row in rows(changes):
    feed[row["_commit_version"]].append(row)

before = state(0)
for version in range(1, latest + 1):
    after = state(version)
    computed = before.copy()
    kinds = collections.Counter(row["_change_type"] for row in feed[version])
    wrong = []
    for row in feed[version]:
        if row["_change_type"] in ("delete", "update_preimage"):
            if computed[spelt(row)] < 1:
                wrong.append(f"{row['_change_type']} of a row that is not there: {spelt(row)}")
            computed[spelt(row)] -= 1
    for row in feed[version]:
        if row["_change_type"] in ("insert", "update_postimage"):
            computed[spelt(row)] += 1
    if +computed != after:
        wrong.append(f"too many {+computed - after}, too few {after - +computed}")
    print(json.dumps({"version": version, "kinds": kinds, "wrong": "; ".join(wrong)}))
    before = after
