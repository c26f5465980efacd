-- A page of alarms, newest first. permitted: text[] or null (all); municipality, detector: text or null; states: text[] or null;
-- severities: int[] or null; device_id: int or null; alarm_ids: bigint[] or null; changed_after: timestamptz or null;
-- span_from, span_to: timestamptz or null, the span of time that they overlap; after: alarm_id of the last page's last row; page: rows.
-- Index: alarm (alarm_id), primary, walked backwards; alarm (device_id) for one device.
SELECT al.alarm_id, al.municipality, al.device_id, d.name AS device, d.kind,
       CASE WHEN d.device_id IS NOT NULL
            THEN json_build_object('ko', coalesce(d.label_ko, ''), 'en', coalesce(d.label_en, '')) END AS label,
       coalesce(al.agent_id, d.agent_id) AS agent_id, a.name AS agent, al.condition, al.detector, al.property, al.severity, al.state,
       al.opened_at, al.last_finding_at, al.findings, al.evidence, al.acknowledged_at, al.acknowledged_by, al.cleared_at,
       al.closed_at, al.closed_by, al.cause, al.comment, al.changed_at
FROM alarm al
LEFT JOIN device d ON d.device_id = al.device_id
LEFT JOIN agent a ON a.agent_id = coalesce(al.agent_id, d.agent_id)
WHERE (%(permitted)s::text[] IS NULL OR al.municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR al.municipality = %(municipality)s)
  AND (%(states)s::text[] IS NULL OR al.state = ANY (%(states)s))
  AND (%(severities)s::int[] IS NULL OR al.severity = ANY (%(severities)s))
  AND (%(detector)s::text IS NULL OR al.detector = %(detector)s)
  AND (%(device_id)s::int IS NULL OR al.device_id = %(device_id)s)
  AND (%(alarm_ids)s::bigint[] IS NULL OR al.alarm_id = ANY (%(alarm_ids)s))
  AND (%(changed_after)s::timestamptz IS NULL OR al.changed_at > %(changed_after)s)
  AND (%(span_to)s::timestamptz IS NULL OR al.opened_at < %(span_to)s)
  AND (%(span_from)s::timestamptz IS NULL
       OR coalesce(al.cleared_at, CASE WHEN al.state = 'closed' THEN al.last_finding_at END, 'infinity') >= %(span_from)s)
  AND (%(after)s::bigint IS NULL OR al.alarm_id < %(after)s)
ORDER BY al.alarm_id DESC
LIMIT %(page)s
