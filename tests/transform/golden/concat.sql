SELECT id,
       concat_ws(' ', first_name, last_name) AS joined,
       nullif(concat_ws(' ', nullif(trim(first_name), ''), nullif(trim(last_name), '')), '') AS full_name,
       nullif(concat_ws(', ', nullif(city, ''), country), '') AS location,
       first_name || last_name AS strict
FROM customers
