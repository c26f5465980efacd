-- open, acknowledged or cleared -> closed, compare and set: no row when the state does not allow it. Tells other API processes.
-- alarm_id: bigint; permitted: text[] or null (all); name: who; cause: real, false_alarm or planned_work; comment: text or null;
-- channel: of NOTIFY. Index: alarm (alarm_id), primary.
WITH changed AS (
    UPDATE alarm SET state = 'closed', closed_at = now(), closed_by = %(name)s, cause = %(cause)s, comment = %(comment)s, changed_at = now()
    WHERE alarm_id = %(alarm_id)s AND state IN ('open', 'acknowledged', 'cleared')
      AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
    RETURNING alarm_id
)
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM changed
