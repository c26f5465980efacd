-- open -> acknowledged, compare and set: no row when the state does not allow it. Tells other API processes.
-- alarm_id: bigint; permitted: text[] or null (all); name: who; channel: of NOTIFY. Index: alarm (alarm_id), primary.
WITH changed AS (
    UPDATE alarm SET state = 'acknowledged', acknowledged_at = now(), acknowledged_by = %(name)s, changed_at = now()
    WHERE alarm_id = %(alarm_id)s AND state = 'open' AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
    RETURNING alarm_id
), told AS (
    INSERT INTO alarm_event (alarm_id, event, who) SELECT alarm_id, 'acknowledged', %(name)s FROM changed
)
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM changed
