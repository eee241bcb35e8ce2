"""BOOTSTRAP TOPIC WAREHOUSE: the customers job as Spark's Structured Streaming does it, from Kafka into Iceberg.

The peer that the engine is compared with: the same messages, the same columns, the same SQL where Spark has it. It
ends when the topic is drained, and prints the number of records, the seconds of the query without the start of the
JVM, and the query's batches. The Kafka partition has another name because Spark refuses Iceberg's `_partition`.
"""

import json
import sys
import time

from spark_session import start, with_catalog

ROW = (
    "customer_id: BIGINT, email: STRING, first_name: STRING, last_name: STRING, city: STRING, state: STRING,"
    " country: STRING, tier: STRING, lifetime_value: STRING, created_at: STRING, updated_at: BIGINT"
)
TABLE = """
CREATE TABLE IF NOT EXISTS iceberg.analytics.customers (
    customer_id BIGINT, email STRING, full_name STRING, location STRING, tier STRING, lifetime_value DECIMAL(12,2),
    created_at TIMESTAMP, updated_at TIMESTAMP_NTZ, _cdc_operation STRING, _ingestion_timestamp TIMESTAMP,
    _source_system STRING, _topic STRING, kafka_partition INT, _offset BIGINT)
USING iceberg PARTITIONED BY (days(_ingestion_timestamp))
"""


def joined(*columns):
    return ", ".join(f"CASE WHEN trim(after.{name}) <> '' THEN after.{name} END" for name in columns)


# A decimal is the base64 of its unscaled value, big-endian in two's complement: six bytes for twelve digits.
EVENTS = f"""
SELECT from_json(CAST(key AS STRING), 'customer_id BIGINT') AS key,
       event.op AS op, event.after AS after, hex(unbase64(event.after.lifetime_value)) AS digits,
       topic, partition, offset
FROM (SELECT *, from_json(CAST(value AS STRING), 'op STRING, after STRUCT<{ROW}>') AS event
      FROM messages WHERE value IS NOT NULL)
"""
CHANGES = f"""
SELECT coalesce(after.customer_id, key.customer_id) AS customer_id, after.email,
       nullif(concat_ws(' ', {joined('first_name', 'last_name')}), '') AS full_name,
       nullif(concat_ws(', ', {joined('city', 'state', 'country')}), '') AS location,
       after.tier,
       CAST((CAST(conv(digits, 16, 10) AS DECIMAL(20,0))
             - CASE WHEN substr(digits, 1, 1) >= '8' THEN CAST(pow(16, length(digits)) AS DECIMAL(20,0)) ELSE 0 END)
            / 100 AS DECIMAL(12,2)) AS lifetime_value,
       CAST(after.created_at AS TIMESTAMP) AS created_at,
       CAST(timestamp_micros(after.updated_at) AS TIMESTAMP_NTZ) AS updated_at,
       CASE op WHEN 'r' THEN 'SNAPSHOT' WHEN 'c' THEN 'INSERT' WHEN 'u' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END
           AS _cdc_operation,
       current_timestamp() AS _ingestion_timestamp, 'postgres_cdc' AS _source_system,
       topic AS _topic, partition AS kafka_partition, offset AS _offset
FROM events
"""

bootstrap, topic, warehouse = sys.argv[1:]
more = {"jdbc.schema-version": "V1"}
spark = with_catalog(start(), "iceberg", f"{warehouse}/catalog.db", **more)
spark.sql("CREATE NAMESPACE IF NOT EXISTS iceberg.analytics")
spark.sql(TABLE)
messages = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("subscribe", topic)
    .option("startingOffsets", "earliest")
    .load()
)
messages.createOrReplaceTempView("messages")
spark.sql(EVENTS).createOrReplaceTempView("events")
began = time.monotonic()
query = (
    spark.sql(CHANGES)
    .writeStream.format("iceberg")
    .outputMode("append")
    .trigger(availableNow=True)
    .option("checkpointLocation", f"{warehouse}/_checkpoint")
    .toTable("iceberg.analytics.customers")
)
query.awaitTermination()
seconds = time.monotonic() - began
batches = query.recentProgress
records = sum(batch["numInputRows"] for batch in batches)
print(json.dumps({"records": records, "seconds": seconds, "batches": len(batches)}))
spark.stop()
