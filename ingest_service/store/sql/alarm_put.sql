-- New alarms. rows: a JSON array of objects; times in ms since 1970 UTC. The unique index alarm_one_open allows one that is active of
-- each subject and condition.
INSERT INTO alarm (alarm_id, municipality, device_id, agent_id, kind, circuit, condition, detector, property, severity, state, opened_at, last_finding_at,
                   cleared_at, findings, occurrences, parent_id, group_scope, group_key, group_size, members_open, members_most, window_id, evidence)
SELECT alarm_id, municipality, device_id, agent_id, kind, circuit, condition, detector, property, severity, state, to_timestamp(opened_ms / 1000.0),
       to_timestamp(last_ms / 1000.0), to_timestamp(cleared_ms / 1000.0), findings, occurrences, parent_id, scope, key, size, members_open, members_most,
       window_id, coalesce(evidence, '{}')
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    alarm_id bigint, municipality text, device_id int, agent_id int, kind text, circuit text, condition text, detector text, property text,
    severity smallint, state text, opened_ms bigint, last_ms bigint, cleared_ms bigint, findings int, occurrences int, parent_id bigint, scope text,
    key text, size int, members_open int, members_most int, window_id bigint, evidence jsonb)
