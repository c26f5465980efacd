-- A word about an alarm, in any state. Tells other API processes. alarm_id: bigint; permitted: text[] or null (all); name: who;
-- text; channel: of NOTIFY. Index: alarm (alarm_id), primary.
WITH changed AS (
    UPDATE alarm SET changed_at = now()
    WHERE alarm_id = %(alarm_id)s AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
    RETURNING alarm_id
), told AS (
    INSERT INTO alarm_event (alarm_id, event, who, detail)
    SELECT alarm_id, 'commented', %(name)s, jsonb_build_object('text', %(text)s::text) FROM changed
)
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM changed
