-- What happened to alarms. rows: a JSON array of objects; observed_ms: ms since 1970 UTC, or null.
INSERT INTO alarm_event (alarm_id, event, observed_at, detail)
SELECT alarm_id, event, to_timestamp(observed_ms / 1000.0), coalesce(detail, '{}')
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alarm_id bigint, event text, observed_ms bigint, detail jsonb)
