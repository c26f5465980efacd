-- Clear those of these group alarms whose members are all over. Within a transaction that has alarm_lock. ids: bigint[].
-- Tells the API's processes. Expects the primary key and alarm_parent.
WITH changed AS (
    UPDATE alarm g SET state = 'cleared', members_open = 0, changed_at = clock_timestamp(),
        cleared_at = greatest(g.opened_at, (SELECT max(coalesce(m.cleared_at, m.last_finding_at)) FROM alarm m WHERE m.parent_id = g.alarm_id))
    WHERE g.alarm_id = ANY (%(ids)s) AND g.state IN ('open', 'acknowledged')
      AND NOT EXISTS (SELECT FROM alarm m WHERE m.parent_id = g.alarm_id AND m.state IN ('open', 'acknowledged'))
    RETURNING alarm_id, cleared_at
), told AS (
    INSERT INTO alarm_event (alarm_id, event, observed_at) SELECT alarm_id, 'cleared', cleared_at FROM changed
)
SELECT alarm_id, pg_notify(current_schema() || '_alarm_changed', alarm_id::text)::text FROM changed
