SELECT id AS customer_id,
       concat_nonblank(' ', first_name, last_name) AS full_name,
       concat_nonblank(', ', city, country) AS location,
       tier, amount AS lifetime_value,
       cdc_operation(_op) AS _cdc_operation,
       _ingested_at AS _ingestion_timestamp,
       'postgres_cdc' AS _source_system,
       _topic, _partition, _offset
FROM customers
