"""Values as Debezium writes them in JSON, to Python's own types: exactly, or refused.

A type is a tuple: ("int", bits), ("decimal", precision, scale), ("list", type), ("struct", {name: type}), … It comes from
the SQL that a column was declared with (`declared`) or from a message's own schema (`of_schema`).
"""

import base64
import binascii
import datetime
import decimal
import hashlib
import math
import re
import struct
import uuid

# Nothing is ever rounded: what would be, is an error.
decimal.setcontext(decimal.Context(prec=2000, traps=[decimal.Inexact, decimal.InvalidOperation]))

EPOCH = datetime.datetime(1970, 1, 1)
UTC = datetime.timezone.utc
DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31
MICROS = {3: 1_000, 6: 1}
DAY = 86_400_000_000


class Refused(Exception):
    """The value is not what its column says, or the column cannot hold it."""


class Unsupported(Exception):
    """The replayer does not know this: better no expectation than a wrong one."""


# Types ---------------------------------------------------------------------------------------------------------------

WORDS = {
    **dict.fromkeys(["boolean", "bool"], ("boolean",)),
    **dict.fromkeys(["tinyint"], ("int", 8)),
    **dict.fromkeys(["smallint", "int2", "smallserial", "tinyint unsigned"], ("int", 16)),
    **dict.fromkeys(["int", "integer", "int4", "mediumint", "serial", "year", "smallint unsigned"], ("int", 32)),
    **dict.fromkeys(["mediumint unsigned"], ("int", 32)),
    **dict.fromkeys(["bigint", "int8", "bigserial", "oid", "int unsigned", "integer unsigned"], ("int", 64)),
    **dict.fromkeys(["bigint unsigned"], ("decimal", 20, 0)),
    **dict.fromkeys(["real", "float4"], ("float",)),
    **dict.fromkeys(["double", "double precision", "float", "float8"], ("double",)),
    **dict.fromkeys(["text", "varchar", "char", "character varying", "character", "bpchar", "citext", "xml"], ("text",)),
    **dict.fromkeys(["uuid", "inet", "cidr", "macaddr", "name", "ltree", "tsvector", "tsrange"], ("text",)),
    **dict.fromkeys(["int4range", "int8range", "numrange", "tstzrange", "daterange", "string"], ("text",)),
    **dict.fromkeys(["tinytext", "mediumtext", "longtext", "enum", "set"], ("text",)),
    **dict.fromkeys(["timetz", "time with time zone"], ("text",)),
    **dict.fromkeys(["json", "jsonb", "hstore"], ("text",)),
    **dict.fromkeys(["bytea", "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob"], ("bytes",)),
    **dict.fromkeys(["varbit", "bit varying"], ("bytes",)),
    **dict.fromkeys(["timestamptz", "timestamp with time zone"], ("instant",)),
    "date": ("date",),
}


def declared(sql):
    """The type that a column's SQL type stands for, as the engine's `columns:` has it."""
    text = re.sub(r"\s+(not null|null|primary key)\b", "", " ".join(sql.lower().split()))
    if text.endswith("[]"):
        return ("list", declared(text[:-2]))
    digits = [int(number) for number in re.findall(r"\d+", "".join(re.findall(r"\([\d, ]*\)", text)))]
    word = " ".join(re.sub(r"\(.*?\)", " ", text).replace("without time zone", "").split())
    if word in ("decimal", "numeric", "dec") and digits:
        return ("decimal", digits[0], digits[1] if len(digits) > 1 else 0)
    if word == "bit":
        return ("boolean",) if digits in ([], [1]) else ("bytes",)
    if word in ("timestamp", "datetime", "time") and (not digits or digits[0] <= 6):
        default = 3 if word == "datetime" else 6
        unit = 3 if (digits or [default])[0] <= 3 else 6
        return ("time" if word == "time" else "timestamp", unit)
    if word in WORDS:
        return WORDS[word]
    raise Unsupported(f"the declared type `{sql}`")


PLAIN = {
    "boolean": ("boolean",), "int8": ("int", 8), "int16": ("int", 16), "int32": ("int", 32), "int64": ("int", 64),
    "float": ("float",), "double": ("double",), "string": ("text",), "bytes": ("bytes",),
}
SEMANTIC = {
    "Date": ("date",), "Time": ("time", 3), "MicroTime": ("time", 6),
    "Timestamp": ("timestamp", 3), "MicroTimestamp": ("timestamp", 6), "NanoTimestamp": ("timestamp", 9),
    "ZonedTimestamp": ("instant",),
}
AS_SENT = ["ZonedTime", "Year", "MicroDuration", "NanoDuration", "Interval", "Json", "Xml", "Uuid", "Enum", "EnumSet",
           "Bits", "Ltree", "Tsvector"]


def of_schema(schema, mysql):
    """The type of a field of a message's schema. MySQL's TIME is no time of day: it stays a number."""
    kind, name = schema["type"], schema.get("name") or ""
    short = name.rsplit(".", 1)[-1]
    if name == "org.apache.kafka.connect.data.Decimal":
        return fixed(schema["parameters"])
    if name == "io.debezium.data.VariableScaleDecimal":
        return ("digits",)
    if name.startswith(("io.debezium.time.", "org.apache.kafka.connect.data.")) and short in SEMANTIC:
        return ("int", 64) if mysql and short == "MicroTime" else SEMANTIC[short]
    if name.startswith("io.debezium.") and short not in AS_SENT and kind != "struct":
        raise Unsupported(f"the semantic type `{name}`")
    if kind == "array":
        return ("list", of_schema(schema["items"], mysql))
    if kind == "map":
        return ("map", of_schema(schema["keys"], mysql), of_schema(schema["values"], mysql))
    if kind == "struct":
        return ("struct", {field["field"]: of_schema(field, mysql) for field in schema["fields"]})
    return PLAIN[kind]


def fixed(parameters):
    """A decimal of a schema; more than 38 digits have no column but text."""
    scale = int(parameters["scale"])
    precision = int(parameters.get("connect.decimal.precision", 38)) - min(scale, 0)
    if precision > 38 or scale > 38:
        return ("digits", scale)
    return ("decimal", max(precision, scale), max(scale, 0), scale)


def widest(one, other):
    """The type of a column that two messages of a topic say differently about."""
    if one == other:
        return one
    kinds = {one[0], other[0]}
    if kinds <= {"boolean", "int"}:
        return max(one, other, key=lambda kind: kind[1] if kind[0] == "int" else 0)
    if kinds <= {"float", "double"}:
        return ("double",)
    if kinds == {"decimal"}:
        scale = max(one[2], other[2])
        return ("decimal", max(one[1] - one[2], other[1] - other[2]) + scale, scale)
    raise Unsupported(f"a column that is first {one}, then {other}")


def widened(cell, kind):
    """A value that was read from a message's type, in its column's."""
    if cell is not None and kind[0] == "int":
        return int(cell)
    if cell is not None and kind[0] == "decimal":
        return cell.quantize(decimal.Decimal((0, (1,), -kind[2])))
    return cell


# Values --------------------------------------------------------------------------------------------------------------


def read(kind, sent):
    """The value of a field. Numbers with a fraction come as `Decimal`."""
    return None if sent is None else READERS[kind[0]](kind, sent)


def boolean(_, sent):
    if sent in (True, False) and type(sent) in (bool, int):
        return bool(sent)
    raise Refused(f"{sent!r} is no boolean")


def integer(kind, sent):
    if type(sent) is not int:
        raise Refused(f"{sent!r} is no integer")
    if not -(1 << kind[1] - 1) <= sent < 1 << kind[1] - 1:
        raise Refused(f"{sent} needs more than {kind[1]} bits")
    return sent


def double(kind, sent):
    if sent in ("NaN", "Infinity", "-Infinity"):
        return float(sent)
    if type(sent) not in (int, decimal.Decimal):
        raise Refused(f"{sent!r} is no number")
    try:
        # The text is the shortest that is nearest to the source's number.
        number = float(sent) if kind[0] == "double" else struct.unpack("f", struct.pack("f", sent))[0]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refused(f"{sent} does not fit")
    return number


def text(_, sent):
    if type(sent) is str:
        return sent
    if type(sent) is dict and set(sent) == {"scale", "value"}:
        # A NUMERIC without precision, declared TEXT because nothing else keeps every digit.
        return digits(None, sent)
    if type(sent) in (dict, list):
        raise Unsupported("a document in a text column")
    raise Refused(f"{sent!r} is no string")


def octets(_, sent):
    try:
        return base64.b64decode(sent, validate=True)
    except (TypeError, ValueError) as error:
        raise Refused(f"{sent!r} is no base64") from error


def scaled(sent, scale):
    unscaled = int.from_bytes(octets(None, sent), "big", signed=True)
    return decimal.Decimal((unscaled < 0, [int(digit) for digit in str(abs(unscaled))], -scale))


def exact(kind, sent):
    """A decimal: base64 of the unscaled value, `{scale, value}`, a number, or decimal text."""
    if type(sent) is dict:
        return scaled(sent["value"], sent["scale"])
    if type(sent) in (int, decimal.Decimal):
        return decimal.Decimal(sent)
    try:
        return scaled(sent, kind[-1])
    except Refused:
        if not re.fullmatch(r"[-+]?\d+(\.\d+)?", str(sent)):
            raise
        return decimal.Decimal(sent)


def number(kind, sent):
    value = exact(kind, sent)
    try:
        value = value.quantize(decimal.Decimal((0, (1,), -kind[2])))
    except decimal.Inexact as error:
        raise Refused(f"{value} has more than {kind[2]} digits after the point") from error
    if value and value.adjusted() >= kind[1] - kind[2]:
        raise Refused(f"{value} has more than {kind[1]} digits")
    # There is no negative zero among decimals of a table.
    return abs(value) if not value else value


def digits(kind, sent):
    """A decimal as text, for columns that no decimal type holds."""
    return format(exact(kind, sent), "f")


def date(_, sent):
    if type(sent) is not int:
        raise Refused(f"{sent!r} is no number of days")
    if not DAYS[0] <= sent <= DAYS[1]:
        raise Refused(f"day {sent} is outside of the years 0001 to 9999")
    return (EPOCH + datetime.timedelta(days=sent)).date()


def micros(kind, sent):
    if type(sent) is not int:
        raise Refused(f"{sent!r} is no number")
    if kind[1] != 9:
        return sent * MICROS[kind[1]]
    if sent % 1_000:
        raise Refused(f"{sent} is finer than microseconds")
    return sent // 1_000


def time(kind, sent):
    since = micros(kind, sent)
    if not 0 <= since < DAY:
        raise Refused(f"{sent} is no time of a day")
    return (EPOCH + datetime.timedelta(microseconds=since)).time()


def timestamp(kind, sent):
    since = micros(kind, sent)
    if not DAYS[0] * DAY <= since < (DAYS[1] + 1) * DAY:
        raise Refused(f"{sent} is outside of the years 0001 to 9999")
    return EPOCH + datetime.timedelta(microseconds=since)


INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)")


def instant(_, sent):
    found = INSTANT.fullmatch(text(None, sent))
    if not found:
        raise Refused(f"{sent!r} is no instant of the years 0001 to 9999")
    nanos = int((found[7] or "").ljust(9, "0"))
    if nanos % 1_000:
        raise Refused(f"{sent!r} is finer than microseconds")
    parts = [int(part or 0) for part in found.groups()[:6]]
    try:
        local = datetime.datetime(*parts, nanos // 1_000)
        if found[8] == "Z":
            return local.replace(tzinfo=UTC)
        zone = datetime.timedelta(hours=int(found[8][1:3]), minutes=int(found[8][4:]))
        return (local - zone if found[8][0] == "+" else local + zone).replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Refused(f"{sent!r}: {error}") from error


def items(kind, sent):
    if type(sent) is not list:
        raise Refused(f"{sent!r} is no array")
    return [read(kind[1], item) for item in sent]


def mapping(kind, sent):
    pairs = sent.items() if type(sent) is dict else sent
    return [(read(kind[1], key), read(kind[2], item)) for key, item in pairs]


def fields(kind, sent):
    return {name: read(part, sent.get(name)) for name, part in kind[1].items()}


READERS = {
    "boolean": boolean, "int": integer, "float": double, "double": double, "text": text, "bytes": octets,
    "decimal": number, "digits": digits, "date": date, "time": time, "timestamp": timestamp, "instant": instant,
    "list": items, "map": mapping, "struct": fields,
}


# Unavailable values --------------------------------------------------------------------------------------------------


class Placeholder:
    """What stands for a value that the source did not send, in every typed form."""

    def __init__(self, said):
        raw = binascii.unhexlify(said[4:]) if said.startswith("hex:") else said.encode()
        word = raw.decode("utf-8", "replace")
        encoded = base64.b64encode(raw).decode()
        name = hashlib.md5(raw, usedforsecurity=False).digest()
        self.word, self.pair = word, {word: word}
        self.forms = {
            "bytes": [encoded],
            "text": ['{"%s":"%s"}' % (word, word)],
            "map": [[[word, word]]],
            "list": [[word], [encoded], [str(uuid.UUID(bytes=name, version=3))], list(raw)],
        }

    def stands_for(self, kind, sent):
        """Whether the whole value of a column is the placeholder."""
        if sent == self.word:
            return True
        if type(sent) is dict:
            return kind[0] == "map" and sent == self.pair
        return sent in self.forms.get(kind[0], ())
