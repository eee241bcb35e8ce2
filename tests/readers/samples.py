"""Two rows with what is easily lost: a null, a negative decimal, instants with and without a zone, before 1970."""

import datetime
import decimal

import pyarrow


def rows():
    utc = datetime.timezone.utc
    instant = datetime.datetime(2026, 11, 22, 10, 7, 32, 270388, utc)
    local = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)
    return pyarrow.table(
        {
            "id": pyarrow.array([2, 1], pyarrow.int64()),
            "amount": pyarrow.array([decimal.Decimal("-0.05"), None], pyarrow.decimal128(12, 2)),
            "at": pyarrow.array([instant, None], pyarrow.timestamp("us", "UTC")),
            "local": pyarrow.array([local, None], pyarrow.timestamp("us")),
            "_partition": pyarrow.array([0, 0], pyarrow.int32()),
            "_offset": pyarrow.array([8, 7], pyarrow.int64()),
        }
    )
