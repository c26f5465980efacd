-- What people made of alarms, by detector and kind; members of a group count as their group. permitted: text[] or null (all);
-- municipality: text or null; since: timestamptz or null, alarms that were raised later.
-- Index: none, all alarms of the municipalities are counted; alarm_top where few are permitted.
SELECT detector, kind,
       count(*) FILTER (WHERE state IN ('open', 'acknowledged', 'suppressed')) AS open,
       count(*) FILTER (WHERE state = 'cleared') AS cleared,
       count(*) FILTER (WHERE state = 'closed') AS closed,
       count(*) FILTER (WHERE cause = 'real') AS real,
       count(*) FILTER (WHERE cause = 'false') AS false,
       count(*) FILTER (WHERE cause = 'planned_work') AS planned_work,
       count(*) FILTER (WHERE cause = 'false')::float8 / nullif(count(*) FILTER (WHERE cause IN ('real', 'false')), 0) AS false_share,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - raised_at)::float8)
           FILTER (WHERE acknowledged_at >= raised_at) AS median_acknowledge_s
FROM alarm
WHERE parent_id IS NULL AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR municipality = %(municipality)s)
  AND (%(since)s::timestamptz IS NULL OR raised_at >= %(since)s)
GROUP BY detector, kind
ORDER BY false_share DESC NULLS LAST, count(*) DESC, detector, kind
