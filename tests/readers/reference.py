"""CAPTURE: the rows that the customers pipelines must write for captured messages.

An independent reading of Debezium's contract and of the pipelines' SQL with Python's own JSON, decimals and
dates: it shares nothing with the engine. `_ingestion_timestamp` is left out, it is the time of the run.
"""

import base64
import datetime
import decimal
import json
import sys

from canonical import line, order, value

OPERATIONS = {"r": "SNAPSHOT", "c": "INSERT", "u": "UPDATE", "d": "DELETE"}
EPOCH = datetime.datetime(1970, 1, 1)


def concat_nonblank(separator, *parts):
    said = [part for part in parts if part is not None and part.strip()]
    return separator.join(said) if said else None


def unscaled(text, scale):
    if text is None:
        return None
    number = int.from_bytes(base64.b64decode(text, validate=True), "big", signed=True)
    return decimal.Decimal(number).scaleb(-scale)


def row(message):
    event = json.loads(message["payload"])
    operation = event["op"]
    image = event["after"] if operation != "d" else json.loads(message["key"])
    get = image.get
    created, updated = get("created_at"), get("updated_at")
    return {
        "customer_id": get("customer_id"),
        "email": get("email"),
        "full_name": concat_nonblank(" ", get("first_name"), get("last_name")),
        "location": concat_nonblank(", ", get("city"), get("state"), get("country")),
        "tier": get("tier"),
        "lifetime_value": unscaled(get("lifetime_value"), 2),
        "created_at": created and datetime.datetime.fromisoformat(created.replace("Z", "+00:00")),
        "updated_at": None if updated is None else EPOCH + datetime.timedelta(microseconds=updated),
        "_cdc_operation": OPERATIONS[operation],
        "_source_system": "postgres_cdc",
        "_topic": message["topic"],
        "_partition": message["partition"],
        "_offset": message["offset"],
    }


def is_event(message):
    """Tombstones make no row; what is no envelope is set aside."""
    try:
        return json.loads(message["payload"] or "null")["op"] in OPERATIONS
    except (ValueError, TypeError, KeyError):
        return False


with open(sys.argv[1], encoding="utf-8") as capture:
    messages = [json.loads(text) for text in capture]
rows = [{name: value(cell) for name, cell in row(m).items()} for m in messages if is_event(m)]
sys.stdout.reconfigure(encoding="utf-8")
for found in sorted(rows, key=order):
    print(line(found))
