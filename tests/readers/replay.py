"""CAPTURE TABLE [--resends keep|drop] [--wrong NAME]: what a captured Debezium topic amounts to.

The reference of the engine's truth: small, slow and obviously right. It shares nothing with the engine. Prints JSON
lines of two kinds.

`{"log": {"partition", "offset", "fate", …}}`, one for each record, is the change log of an append pipeline with
`SELECT *, _op, _topic, _partition, _offset, _unavailable_columns`. `fate` is one of

  row        with the `row`
  tombstone  a null value: makes no row
  control    heartbeats, transaction marks, logical messages …: make no row
  reject     cannot be decoded: with `why`, and the `column` that is to blame
  resend     sent again by the connector, and `--resends drop` leaves such events out

Beside the fate: `key`, `op`, and `again` with the place of the first event where an event is one that was sent before.

`{"final": {"key", "row", "unknown", "place"}}`, one for each row of the table at the end, by a replay in the order of
offsets. `unknown` names columns whose value was never sent; `place` is the event that wrote the row last.

TABLE is a JSON object: `columns`: [{"name", "declared"}], or null where messages have schemas; `before_image`: "full" if
`before` is a true image; `key`: the key's columns, where the Kafka key is no object; `placeholder`.

An event was sent before if the partition had one with the same key, operation, images and `source` block before it: all
of that is the same when a connector reads its source once more after a crash; only the envelope's own times differ, and
the block's `snapshot`: PostgreSQL's connector, killed in the middle of an incremental snapshot, says "true" of what it
streams next, until that snapshot goes on. Rows of snapshots (`r`) have no place in the source's log, so they are never that. Rows without key may be equal and share one
place in the log (COPY), so there equal events are counted in each run of the connector, whose id is in the headers.

`--wrong` replays wrongly on purpose: tests show that these mistakes are told from the truth.
"""

import argparse
import collections
import hashlib
import json
import sys
from decimal import Decimal

import wire
from canonical import value

OLD_KEY, NEW_KEY, RUN = "__debezium.oldkey", "__debezium.newkey", "__debezium.context.runId"
UNKNOWN = object()
WRONG = {
    "tombstones": "tombstones delete nothing",
    "lsn": "an event whose lsn is not above the highest one so far is left out",
    "resends": "events that were sent again are applied again",
    "carry": "a key change does not take unavailable values along",
}


def constant(name):
    raise ValueError(f"{name} is no JSON")


JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=constant)


def dumps(thing):
    return json.dumps(thing, ensure_ascii=False, sort_keys=True, default=str)


# Messages ------------------------------------------------------------------------------------------------------------


class Unwrapped:
    """Keys or values with `{"schema": …, "payload": …}` around them: each schema is compiled once."""

    def __init__(self):
        self.known, self.prefix, self.schema = {}, None, None

    def read(self, text):
        """The schema, or None, and the payload."""
        if self.prefix and text.startswith(self.prefix):
            payload, end = JSON.raw_decode(text, len(self.prefix))
            if text[end:].strip() != "}":
                raise ValueError("more than a schema and a payload")
            return self.schema, payload
        whole = JSON.decode(text)
        if type(whole) is not dict or set(whole) != {"schema", "payload"}:
            return None, whole
        start = '{"schema":'
        if text.startswith(start) and whole["schema"] is not None:
            end = JSON.raw_decode(text, len(start))[1]
            between = ',"payload":'
            if text.startswith(between, end):
                self.prefix = text[: end + len(between)]
                self.schema = self.known.setdefault(self.prefix, whole["schema"])
                return self.schema, whole["payload"]
        return whole["schema"], whole["payload"]


class Decoder:
    """Images to rows, by declared columns or by each message's schema."""

    def __init__(self, table):
        self.declared = None
        if table.get("columns"):
            self.declared = {column["name"]: wire.declared(column["declared"]) for column in table["columns"]}
        self.columns = dict(self.declared or {})
        self.uneven = set()
        self.compiled = {}
        self.placeholder = wire.Placeholder(table.get("placeholder") or "__debezium_unavailable_value")
        self.full = table.get("before_image") == "full"
        self.key = table.get("key") or []

    def types(self, schema):
        """The columns of an envelope's schema; they may add to the table's, or widen them."""
        if self.declared:
            return self.declared
        if schema is None:
            raise wire.Refused("neither a schema nor declared columns")
        if id(schema) not in self.compiled:
            parts = {part["field"]: part for part in schema["fields"]}
            source = parts["source"].get("name", "")
            mysql = ".mysql." in source or ".mariadb." in source
            image = wire.of_schema({**parts["after"], "name": None}, mysql)[1]
            for name, kind in image.items():
                before = self.columns.setdefault(name, kind)
                if before != kind:
                    self.columns[name] = wire.widest(before, kind)
                    self.uneven.add(name)
            # The schema is kept, so that its id stays its own.
            self.compiled[id(schema)] = (schema, image)
        return self.compiled[id(schema)][1]

    def image(self, types, image, may_lack):
        """A row, and the columns that the source did not send."""
        row, unavailable = {}, []
        for name, sent in image.items():
            kind = types.get(name)
            if kind is None:
                continue
            if may_lack and self.placeholder.stands_for(kind, sent):
                unavailable.append(name)
                continue
            try:
                row[name] = wire.read(kind, sent)
            except wire.Refused as error:
                error.column = name
                raise
            except wire.Unsupported as error:
                raise wire.Unsupported(f"column {name}: {error}") from error
        return row, unavailable

    def deleted(self, types, key, before):
        """What is known of a deleted row: its key, or all of it if `before` is a true image."""
        if self.full and before is not None:
            return self.image(types, before, False)[0]
        if type(key) is dict:
            row = self.image(types, key, False)[0]
        elif key is not None and len(self.key) == 1:
            row = self.image(types, {self.key[0]: key}, False)[0]
        else:
            row = self.image(types, {name: (before or {}).get(name) for name in self.key}, False)[0]
        wanted = self.key or list(row)
        if not wanted or any(row.get(name) is None for name in wanted):
            raise wire.Refused("a delete without the key of a row")
        return row

    def canonical(self, row):
        """All columns of the table, as every reader prints them."""
        cells = {name: value(row.get(name)) for name in self.columns}
        for name in self.uneven:
            cells[name] = value(wire.widened(row.get(name), self.columns[name]))
        return cells


class Event:
    """One record, told apart by its content."""

    def __init__(self, record, keys, values, decoder):
        self.place = (record["partition"], record["offset"])
        self.topic = record["topic"]
        flat = record.get("headers") or []
        self.headers = {name: text for name, text in zip(flat[::2], flat[1::2]) if name in (OLD_KEY, NEW_KEY, RUN)}
        self.op = self.row = self.before = self.again = self.why = self.column = self.source = None
        self.unavailable = []
        self.key = unwrapped(record["key"], keys)
        self.fate = "tombstone"
        if record["payload"] is not None:
            try:
                schema, message = values.read(record["payload"])
                self.read(schema, message, decoder)
            except (wire.Refused, ValueError, KeyError) as error:
                self.fate, self.why = "reject", str(error)
                self.column = getattr(error, "column", None)

    def read(self, schema, message, decoder):
        if message is None:
            return
        if type(message) is not dict:
            raise wire.Refused("the message is no object")
        self.op = message.get("op")
        if self.op is None or self.op == "m" or type(message.get("source")) is not dict:
            if is_control(message):
                self.fate = "control"
                return
            raise wire.Refused("no envelope")
        if self.op not in ("c", "r", "u", "d", "t"):
            raise wire.Refused(f"the operation {self.op!r} is not known")
        self.source = message["source"]
        before, after = message.get("before"), message.get("after")
        # The envelope's own times are those of the reading, not of the change.
        place = {name: field for name, field in self.source.items() if name != "snapshot"}
        same = dumps([self.key, self.op, before, after, place])
        self.identity = hashlib.blake2b(same.encode(), digest_size=16).digest()
        types = decoder.types(schema)
        if self.op == "t":
            self.row = {}
        elif self.op == "d":
            self.row = decoder.deleted(types, self.key, before)
        elif type(after) is not dict:
            raise wire.Refused(f"an event with `op` {self.op} has no `after`")
        else:
            may_lack = self.op == "u" or (self.op == "c" and OLD_KEY in self.headers)
            self.row, self.unavailable = decoder.image(types, after, may_lack)
        if self.key is None and type(before) is dict:
            # Rows without key are found by what they were.
            self.before = decoder.image(types, before, False)[0]
        self.fate = "row"

    def log(self, decoder):
        """The record's line of the change log."""
        line = {"partition": self.place[0], "offset": self.place[1], "fate": self.fate, "key": self.key, "op": self.op}
        if self.again:
            line["again"] = self.again
        if self.fate == "row":
            line["row"] = {
                **decoder.canonical(self.row), "_op": self.op, "_topic": self.topic,
                "_partition": self.place[0], "_offset": self.place[1], "_unavailable_columns": self.unavailable or None,
            }
        if self.why:
            line.update(why=self.why, column=self.column)
        return line


def unwrapped(text, reader):
    """The payload of a key, with a schema around it or not; what is no JSON is itself."""
    try:
        return None if text is None else reader.read(text)[1]
    except ValueError:
        return text


def is_control(message):
    return (
        message.get("op") == "m"
        or set(message) <= {"ts_ms", "ts_us", "ts_ns"}
        or {"status", "id", "event_count"} <= set(message)
        or {"ddl", "databaseName"} <= set(message)
    )


# Events that are sent again ------------------------------------------------------------------------------------------


class Seen:
    """Every event of a partition so far."""

    def __init__(self):
        self.first, self.runs = {}, {}

    def again(self, event):
        """The place of the first event that is this one, or None."""
        if event.source is None or event.op == "r":
            return None
        first = self.first.setdefault(event.identity, event.place)
        if event.key is not None:
            return first if first != event.place else None
        # The nth of equal events was sent before if an earlier run of the connector had as many.
        runs = self.runs.setdefault(event.identity, collections.Counter())
        run = event.headers.get(RUN)
        runs[run] += 1
        others = [count for name, count in runs.items() if name != run]
        return first if max(others, default=0) >= runs[run] else None


# The table -----------------------------------------------------------------------------------------------------------


class Table:
    """What the source's table holds after the events so far."""

    def __init__(self, wrong):
        self.wrong = wrong
        self.rows, self.parked, self.bag = {}, {}, {}
        self.last_delete, self.lsn = None, -1

    def apply(self, event):
        """One record, in the order of offsets."""
        previous, self.last_delete = self.last_delete, None
        if event.fate == "tombstone":
            # It belongs to the delete before it: applied alone, that of a re-sent delete would delete a live row.
            mine = previous and previous.key == event.key and previous.headers.get(NEW_KEY) == event.headers.get(NEW_KEY)
            dropped = mine and previous.again and self.wrong != "resends"
            if event.key is not None and not dropped and self.wrong != "tombstones":
                self.delete(event)
            return
        if event.op == "d":
            self.last_delete = event
        if event.fate != "row" or (event.again and self.wrong != "resends") or self.is_late(event):
            return
        if event.op == "t":
            self.rows, self.parked, self.bag = {}, {}, {}
        elif event.key is None:
            self.without_key(event)
        elif event.op == "d":
            self.delete(event)
        else:
            self.write(event)

    def is_late(self, event):
        """What those do who take the lsn for an order."""
        lsn = event.source.get("lsn")
        if self.wrong != "lsn" or lsn is None or event.op == "r":
            return False
        late, self.lsn = lsn <= self.lsn, max(lsn, self.lsn)
        return late

    def delete(self, event):
        key = dumps(event.key)
        row = self.rows.pop(key, None)
        if row and NEW_KEY in event.headers:
            # The row moves: values that are not sent with its new key come from here.
            self.parked[key] = row

    def write(self, event):
        key = dumps(event.key)
        before = self.rows.get(key)
        if event.op == "c" and OLD_KEY in event.headers and self.wrong != "carry":
            before = self.parked.pop(dumps(unwrapped(event.headers[OLD_KEY], Unwrapped())), before)
        old = before[0] if before else {}
        kept = {name: old.get(name, UNKNOWN) for name in event.unavailable}
        self.rows[key] = ({**event.row, **kept}, event.place, event.key)

    def without_key(self, event):
        """A bag: a delete takes one of the rows that are equal to `before`, where null equals null."""
        if event.op in ("u", "d"):
            if event.before is None:
                raise wire.Unsupported(f"{event.place}: a row without key and without its image before the change")
            equal = self.bag.get(dumps(event.before))
            if equal:
                equal.pop()
        if event.op != "d":
            self.bag.setdefault(dumps(event.row), []).append((event.row, event.place, None))

    def lines(self, decoder):
        for row, place, key in [*self.rows.values(), *(row for equal in self.bag.values() for row in equal)]:
            unknown = [name for name, cell in row.items() if cell is UNKNOWN]
            known = {name: cell for name, cell in row.items() if cell is not UNKNOWN}
            yield {"key": key, "row": decoder.canonical(known), "unknown": unknown, "place": place}


# The command ---------------------------------------------------------------------------------------------------------


def records(file):
    with open(file, encoding="utf-8") as capture:
        for text in capture:
            yield json.loads(text)


def replay(messages, description, resends, wrong):
    """Lines of the log and of the final table. Records come by partition, in the order of offsets."""
    decoder, keys, values = Decoder(description), Unwrapped(), Unwrapped()
    seen, table, log = collections.defaultdict(Seen), Table(wrong), []
    last = {}
    for record in messages:
        event = Event(record, keys, values, decoder)
        partition, offset = event.place
        assert last.get(partition, -1) < offset, f"{event.place} comes after offset {last[partition]}"
        if event.op == "t" and any(other != partition for other in last):
            raise wire.Unsupported("a truncate in a topic of several partitions")
        last[partition] = offset
        event.again = seen[partition].again(event)
        table.apply(event)
        event.source = event.before = None
        if event.again and resends == "drop":
            event.fate = "resend"
        log.append(event)
    # Columns may have become wider on the way, so nothing is printed before the end.
    for event in log:
        yield {"log": event.log(decoder)}
    for line in table.lines(decoder):
        yield {"final": line}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("capture")
    parser.add_argument("table")
    parser.add_argument("--resends", choices=["keep", "drop"], default="keep")
    parser.add_argument("--wrong", choices=sorted(WRONG))
    given = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    with open(given.table, encoding="utf-8") as description:
        table = json.load(description)
    for line in replay(records(given.capture), table, given.resends, given.wrong):
        print(json.dumps(line, ensure_ascii=False, default=str))


main()
