-- Clear the open alarm of a device (or agent) and condition, if there is one; the row as it stands then.
-- at_ms: observation time, ms since 1970 UTC. Expects the unique index alarm_one_open.
UPDATE alarm
SET state = 'cleared', cleared_at = greatest(opened_at, to_timestamp(%(at_ms)s / 1000.0)), changed_at = clock_timestamp()
WHERE coalesce(device_id, 0) = coalesce(%(device_id)s::int, 0) AND coalesce(agent_id, 0) = coalesce(%(agent_id)s::int, 0)
  AND condition = %(condition)s AND state IN ('open', 'acknowledged')
RETURNING alarm_id, municipality, device_id, agent_id, condition, detector, property, severity, state,
          (extract(epoch FROM opened_at) * 1000)::bigint, (extract(epoch FROM last_finding_at) * 1000)::bigint, (extract(epoch FROM cleared_at) * 1000)::bigint
