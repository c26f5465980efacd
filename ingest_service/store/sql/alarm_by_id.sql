-- Alarms by number, locked. ids: bigint[]. Expects the primary key.
SELECT al.alarm_id, al.subject, al.municipality, al.device_id, al.agent_id, al.kind, al.circuit, al.condition, al.detector, al.property, al.severity,
       al.state, (extract(epoch FROM al.opened_at) * 1000)::bigint, (extract(epoch FROM al.last_finding_at) * 1000)::bigint,
       (extract(epoch FROM al.cleared_at) * 1000)::bigint, al.findings, al.occurrences, al.acknowledged_at IS NOT NULL, al.parent_id,
       al.group_scope, al.group_key, al.group_size, al.members_open, al.members_most, al.window_id
FROM alarm al WHERE al.alarm_id = ANY (%(ids)s)
FOR NO KEY UPDATE
