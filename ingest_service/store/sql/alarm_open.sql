-- Open an alarm, or count one more finding of the open one; the row as it stands then.
-- at_ms: observation time, ms since 1970 UTC. Expects the unique index alarm_one_open.
INSERT INTO alarm (municipality, device_id, agent_id, condition, detector, property, severity, opened_at, last_finding_at, evidence)
VALUES (%(municipality)s, %(device_id)s, %(agent_id)s, %(condition)s, %(detector)s, %(property)s, %(severity)s,
        to_timestamp(%(at_ms)s / 1000.0), to_timestamp(%(at_ms)s / 1000.0), %(evidence)s)
ON CONFLICT (subject, condition) WHERE state IN ('open', 'acknowledged', 'suppressed')
DO UPDATE SET findings = alarm.findings + 1, last_finding_at = greatest(alarm.last_finding_at, excluded.last_finding_at), changed_at = clock_timestamp()
RETURNING alarm_id, municipality, device_id, agent_id, condition, detector, property, severity, state,
          (extract(epoch FROM opened_at) * 1000)::bigint, (extract(epoch FROM last_finding_at) * 1000)::bigint, (extract(epoch FROM cleared_at) * 1000)::bigint
