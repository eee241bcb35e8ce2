"""DuckDB with extensions from wheels: nothing is downloaded while a test runs."""

import importlib
import pathlib

import duckdb


def connect(*extensions):
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in extensions:
        folder = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        (file,) = folder.rglob(f"{name}.duckdb_extension")
        connection.load_extension(str(file))
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def table(connection, scan, argument):
    """Names and types as DuckDB describes them, and the rows."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {scan}(?)", [argument]).fetchall()
    schema = [[name, kind] for name, kind, *_ in described]
    rows = connection.execute(f"SELECT * FROM {scan}(?)", [argument]).to_arrow_table()
    return schema, rows
