-- Any state but closed -> closed, with the members of a group that are active, and counted out of the group it is a member of;
-- compare and set: no row when it is closed. Tells other API processes. Within a transaction that has `alarm_lock`.
-- alarm_id: bigint; permitted: text[] or null (all); name: who; cause: real, false or planned_work; note: text or null;
-- channel: of NOTIFY. Index: alarm (alarm_id), primary; alarm_parent.
WITH RECURSIVE chosen AS (
    SELECT alarm_id, parent_id, state, true AS asked FROM alarm
    WHERE alarm_id = %(alarm_id)s AND state <> 'closed' AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
    UNION ALL
    SELECT m.alarm_id, m.parent_id, m.state, false FROM alarm m JOIN chosen ON m.parent_id = chosen.alarm_id
    WHERE m.state IN ('open', 'acknowledged')
), changed AS (
    UPDATE alarm SET state = 'closed', closed_at = now(), closed_by = %(name)s, cause = %(cause)s, changed_at = now(), members_open = 0,
           note = CASE WHEN chosen.asked THEN %(note)s::text ELSE alarm.note END
    FROM chosen WHERE alarm.alarm_id = chosen.alarm_id
    RETURNING alarm.alarm_id, chosen.asked
), told AS (
    INSERT INTO alarm_event (alarm_id, event, who, detail)
    SELECT alarm_id, 'closed', %(name)s,
           jsonb_strip_nulls(jsonb_build_object('cause', %(cause)s::text, 'note', CASE WHEN asked THEN %(note)s::text END)) FROM changed
), counted AS (
    UPDATE alarm SET members_open = greatest(members_open - 1, 0), changed_at = now(),
           state = CASE WHEN members_open <= 1 THEN 'cleared' ELSE alarm.state END,
           cleared_at = CASE WHEN members_open <= 1 THEN greatest(alarm.opened_at, alarm.last_finding_at) ELSE alarm.cleared_at END
    FROM chosen
    WHERE chosen.asked AND chosen.state IN ('open', 'acknowledged') AND alarm.alarm_id = chosen.parent_id
      AND alarm.state IN ('open', 'acknowledged')
    RETURNING alarm.alarm_id, alarm.state
), cleared AS (
    INSERT INTO alarm_event (alarm_id, event) SELECT alarm_id, 'cleared' FROM counted WHERE state = 'cleared'
)
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM changed
UNION ALL
SELECT alarm_id, pg_notify(%(channel)s, alarm_id::text)::text FROM counted
