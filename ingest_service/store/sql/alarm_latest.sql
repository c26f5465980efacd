-- The newest alarm of each subject and condition, locked. subjects, conditions: text[], as long as each other.
-- Expects alarm_last (subject, condition, alarm_id).
WITH last AS MATERIALIZED (
    SELECT found.alarm_id FROM unnest(%(subjects)s::text[], %(conditions)s::text[]) AS k (subject, condition)
    CROSS JOIN LATERAL (
        SELECT alarm_id FROM alarm WHERE subject = k.subject AND condition = k.condition ORDER BY alarm_id DESC LIMIT 1
    ) found
)
SELECT al.alarm_id, al.subject, al.municipality, al.device_id, al.agent_id, al.kind, al.circuit, al.condition, al.detector, al.property, al.severity,
       al.state, (extract(epoch FROM al.opened_at) * 1000)::bigint, (extract(epoch FROM al.last_finding_at) * 1000)::bigint,
       (extract(epoch FROM al.cleared_at) * 1000)::bigint, al.findings, al.occurrences, al.acknowledged_at IS NOT NULL, al.parent_id,
       al.group_scope, al.group_key, al.group_size, al.members_open, al.members_most, al.window_id
FROM alarm al JOIN last USING (alarm_id)
FOR NO KEY UPDATE OF al
