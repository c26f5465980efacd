-- Raise by a step what nobody has answered for too long, once in an alarm's life; which alarms. Tells the API's processes.
-- info_s, warning_s, critical_s: seconds by severity, 0: never; most: rows. Alarms that another session holds wait for the next time.
-- Expects alarm_unanswered, the partial index of open alarms that were not escalated.
WITH due AS (
    SELECT alarm_id FROM alarm
    WHERE state = 'open' AND escalated_at IS NULL AND parent_id IS NULL
      AND raised_at <= now() - make_interval(secs => nullif((ARRAY[%(info_s)s, %(warning_s)s, %(critical_s)s]::float8[])[severity], 0))
    ORDER BY raised_at
    LIMIT %(most)s
    FOR NO KEY UPDATE SKIP LOCKED
), changed AS (
    UPDATE alarm SET severity = least(severity + 1, 3), escalated_at = now(), changed_at = clock_timestamp()
    FROM due WHERE alarm.alarm_id = due.alarm_id
    RETURNING alarm.alarm_id, alarm.severity
), told AS (
    INSERT INTO alarm_event (alarm_id, event, detail) SELECT alarm_id, 'escalated', jsonb_build_object('severity', severity) FROM changed
)
SELECT alarm_id, pg_notify(current_schema() || '_alarm_changed', alarm_id::text)::text FROM changed
