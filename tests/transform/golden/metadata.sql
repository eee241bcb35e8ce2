SELECT id, _op AS op, _topic, _partition, _offset, _ingested_at AS ingested, 'postgres_cdc' AS source
FROM customers
WHERE _op = 'u'
