-- Whether the schema is there. No parameters; reads no row.
SELECT 1 AS alive FROM device, alarm, cursor, session LIMIT 1
