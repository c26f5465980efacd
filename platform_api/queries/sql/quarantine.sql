-- A page of the quarantine, newest first. permitted: text[] or null (all; only then rows without a municipality show);
-- reason, agent (its name): text or null; agent_id, quarantine_id: number or null; after: quarantine_id of the last page's last row; page: rows.
-- Index: quarantine (quarantine_id), primary, walked backwards.
SELECT q.quarantine_id, q.received_at, q.municipality, q.agent_id, a.name AS agent, q.topic, q.epoch::text AS epoch, q.seq, q.reason,
       q.detail, q.kind, q.device, q.observed_at, q.content, q.observations, q.bytes, q.admit_requested_at, q.admit_requested_by, q.admitted_at
FROM quarantine q
LEFT JOIN agent a ON a.agent_id = q.agent_id
WHERE (%(permitted)s::text[] IS NULL OR q.municipality = ANY (%(permitted)s))
  AND (%(reason)s::text IS NULL OR q.reason = %(reason)s)
  AND (%(agent)s::text IS NULL OR a.name = %(agent)s)
  AND (%(quarantine_id)s::bigint IS NULL OR q.quarantine_id = %(quarantine_id)s)
  AND (%(after)s::bigint IS NULL OR q.quarantine_id < %(after)s)
ORDER BY q.quarantine_id DESC
LIMIT %(page)s
