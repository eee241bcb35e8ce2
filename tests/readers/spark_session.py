"""A Spark of two threads with Delta's and Iceberg's libraries, and SQL catalogs of Iceberg on SQLite."""

import os
import pathlib

from pyspark.sql import SparkSession

EXTENSIONS = [
    "io.delta.sql.DeltaSparkSessionExtension",
    "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
]
SETTINGS = {
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.warehouse.dir": os.getcwd(),
    "spark.sql.extensions": ",".join(EXTENSIONS),
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def start():
    """`SPARK_JARS` names the folders of the jars, as a `PATH` does."""
    folders = os.environ["SPARK_JARS"].split(":")
    jars = [str(jar) for folder in folders for jar in sorted(pathlib.Path(folder).glob("*.jar"))]
    builder = SparkSession.builder.master("local[2]").config("spark.jars", ",".join(jars))
    for name, setting in SETTINGS.items():
        builder = builder.config(name, setting)
    return builder.getOrCreate()


def with_catalog(spark, name, file, **more):
    """A session of its own: Spark's name of a catalog is what its rows in the SQLite file are found by."""
    prefix = f"spark.sql.catalog.{name}"
    session = spark.newSession()
    for setting, text in {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{prefix}.uri": f"jdbc:sqlite:{file}",
        f"{prefix}.warehouse": pathlib.Path(file).parent.as_uri(),
        **{f"{prefix}.{setting}": text for setting, text in more.items()},
    }.items():
        session.conf.set(setting, text)
    return session
