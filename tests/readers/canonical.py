"""One spelling of a table for all readers: a header line, then one JSON object a row."""

import base64
import datetime
import decimal
import json
import math
import sys


def value(cell):
    """A cell as JSON: exact, and the same whichever library read it."""
    if isinstance(cell, decimal.Decimal):
        return format(cell, "f")
    if isinstance(cell, datetime.datetime):
        if cell.tzinfo is None:
            return cell.isoformat(timespec="microseconds")
        utc = cell.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return utc.isoformat(timespec="microseconds") + "Z"
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return base64.b64encode(cell).decode()
    if isinstance(cell, float) and not math.isfinite(cell):
        return "NaN" if math.isnan(cell) else "Infinity" if cell > 0 else "-Infinity"
    if isinstance(cell, dict):
        return {name: value(inner) for name, inner in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [value(inner) for inner in cell]
    return cell


def line(record):
    return json.dumps(record, ensure_ascii=False)


def order(row):
    return (row.get("_partition") or 0, row.get("_offset") or 0, line(row))


def show(schema, version, arrow):
    """Prints an Arrow table. `schema` is a list of [name, type] in the reader's own words."""
    sys.stdout.reconfigure(encoding="utf-8")
    print(line({"schema": schema, "version": version}))
    rows = [{name: value(cell) for name, cell in row.items()} for row in arrow.to_pylist()]
    for row in sorted(rows, key=order):
        print(line(row))
