-- Who looks after an alarm that is not closed; no row when it is, or when it is theirs already. Tells other API processes.
-- alarm_id: bigint; permitted: text[] or null (all); account: name or null; name: who says so; channel: of NOTIFY.
-- Index: alarm (alarm_id), primary.
WITH changed AS (
    UPDATE alarm SET assigned_to = %(account)s, changed_at = now()
    WHERE alarm_id = %(alarm_id)s AND state <> 'closed' AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
      AND assigned_to IS DISTINCT FROM %(account)s
    RETURNING alarm_id
), told AS (
    INSERT INTO alarm_event (alarm_id, event, who, detail)
    SELECT alarm_id, 'assigned', %(name)s, jsonb_build_object('account', %(account)s::text) FROM changed
)
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM changed
