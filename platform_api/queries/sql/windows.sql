-- A page of maintenance windows, newest first. permitted: text[] or null (all); municipality: text or null; phase: planned, active,
-- over or null; window_id: bigint or null; after: window_id of the last page's last row; page: rows.
-- Index: maintenance_window (window_id), primary, walked backwards; alarm_suppressed.
SELECT window_id, municipality, scope, nullif(target, '') AS target, begins_at AS "from", ends_at AS "to", reason, phase,
       (SELECT count(*) FROM alarm WHERE alarm.window_id = w.window_id AND state = 'suppressed') AS suppressed,
       created_at, created_by, changed_at, changed_by
FROM (
    SELECT *, CASE WHEN ends_at <= now() THEN 'over' WHEN begins_at <= now() THEN 'active' ELSE 'planned' END AS phase
    FROM maintenance_window
) w
WHERE (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR municipality = %(municipality)s)
  AND (%(phase)s::text IS NULL OR phase = %(phase)s)
  AND (%(window_id)s::bigint IS NULL OR window_id = %(window_id)s)
  AND (%(after)s::bigint IS NULL OR window_id < %(after)s)
ORDER BY window_id DESC
LIMIT %(page)s
