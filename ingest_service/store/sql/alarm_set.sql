-- Alarms as they are from now on. rows: a JSON array of objects, evidence null where it stays; times in ms since 1970 UTC.
-- Expects the primary key.
UPDATE alarm
SET state = r.state, last_finding_at = to_timestamp(r.last_ms / 1000.0), cleared_at = to_timestamp(r.cleared_ms / 1000.0), findings = r.findings,
    occurrences = r.occurrences, parent_id = r.parent_id, group_size = r.size, members_open = r.members_open, members_most = r.members_most,
    window_id = r.window_id, evidence = coalesce(r.evidence, alarm.evidence), changed_at = clock_timestamp(),
    raised_at = CASE WHEN r.raised THEN clock_timestamp() ELSE alarm.raised_at END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    alarm_id bigint, state text, last_ms bigint, cleared_ms bigint, findings int, occurrences int, parent_id bigint, size int, members_open int,
    members_most int, window_id bigint, evidence jsonb, raised boolean)
WHERE alarm.alarm_id = r.alarm_id
