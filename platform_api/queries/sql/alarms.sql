-- A page of alarms, newest first. permitted: text[] or null (all); municipality, detector, kind, assigned_to: text or null; states,
-- causes: text[] or null (states null: all but suppressed, unless `everything`); severities: int[] or null; device_id: int or null;
-- member_of: alarm_id of a group alarm or null; folded: bool, members of groups as well; alarm_ids: bigint[] or null;
-- changed_after: timestamptz or null; span_from, span_to: timestamptz or null, the span of time that they overlap;
-- after: alarm_id of the last page's last row; page: rows.
-- Index: alarm (alarm_id), primary, walked backwards; alarm_top where a municipality is permitted; alarm (device_id) for one
-- device; alarm_parent for the members of a group.
SELECT al.alarm_id, al.municipality, al.device_id, d.name AS device, coalesce(al.kind, d.kind) AS kind,
       CASE WHEN d.device_id IS NOT NULL
            THEN json_build_object('ko', coalesce(d.label_ko, ''), 'en', coalesce(d.label_en, '')) END AS label,
       coalesce(al.agent_id, d.agent_id) AS agent_id, a.name AS agent, al.condition, al.detector, al.property, al.severity, al.state,
       al.opened_at, al.last_finding_at, al.findings, al.occurrences, al.evidence,
       CASE WHEN al.group_scope IS NOT NULL
            THEN json_build_object('scope', al.group_scope, 'size', al.group_size, 'members_open', al.members_open, 'members_most', al.members_most,
                                   'key', CASE al.group_scope WHEN 'agent' THEN coalesce(a.name, '') WHEN 'municipality' THEN al.municipality
                                               ELSE coalesce(al.group_key, '') END) END AS "group",
       al.parent_id, al.window_id, al.assigned_to, al.raised_at, al.escalated_at, al.acknowledged_at, al.acknowledged_by, al.cleared_at,
       al.closed_at, al.closed_by, al.cause, al.note, al.changed_at
FROM alarm al
LEFT JOIN device d ON d.device_id = al.device_id
LEFT JOIN agent a ON a.agent_id = coalesce(al.agent_id, d.agent_id)
WHERE (%(permitted)s::text[] IS NULL OR al.municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR al.municipality = %(municipality)s)
  AND (%(states)s::text[] IS NULL OR al.state = ANY (%(states)s))
  AND (%(everything)s OR %(states)s::text[] IS NOT NULL OR al.state <> 'suppressed')
  AND (%(severities)s::int[] IS NULL OR al.severity = ANY (%(severities)s))
  AND (%(detector)s::text IS NULL OR al.detector = %(detector)s)
  AND (%(kind)s::text IS NULL OR al.kind = %(kind)s)
  AND (%(assigned_to)s::text IS NULL OR al.assigned_to = %(assigned_to)s)
  AND (%(causes)s::text[] IS NULL OR al.cause = ANY (%(causes)s))
  AND (%(device_id)s::int IS NULL OR al.device_id = %(device_id)s)
  AND (%(member_of)s::bigint IS NULL OR al.parent_id = %(member_of)s)
  AND (%(folded)s OR al.parent_id IS NULL)
  AND (%(alarm_ids)s::bigint[] IS NULL OR al.alarm_id = ANY (%(alarm_ids)s))
  AND (%(changed_after)s::timestamptz IS NULL OR al.changed_at > %(changed_after)s)
  AND (%(span_to)s::timestamptz IS NULL OR al.opened_at < %(span_to)s)
  AND (%(span_from)s::timestamptz IS NULL
       OR coalesce(al.cleared_at, CASE WHEN al.state = 'closed' THEN al.last_finding_at END, 'infinity') >= %(span_from)s)
  AND (%(after)s::bigint IS NULL OR al.alarm_id < %(after)s)
ORDER BY al.alarm_id DESC
LIMIT %(page)s
