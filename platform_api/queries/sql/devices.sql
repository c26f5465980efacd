-- A page of devices with state, newest observation and active alarms.
-- permitted: text[] or null (all); municipality, kind, circuit, state, pattern (ILIKE): text or null; device_ids: int[] or null;
-- after: device_id of the last page's last row, or 0; page: rows.
-- newest: for each kind, the newest row of device d, as (observed_at, values); one primary-key look-up a device.
-- Index: device (device_id), primary, walked in order; newest_<kind> (device_id); alarm by its partial index of active states.
WITH active AS (
    SELECT device_id, max(severity) FILTER (WHERE condition <> 'silent') AS worst, bool_or(condition = 'silent') AS silent,
           json_agg(json_build_object('alarm_id', alarm_id, 'condition', condition, 'severity', severity)
                    ORDER BY severity DESC, alarm_id) AS alarms
    FROM alarm
    WHERE state IN ('open', 'acknowledged') AND device_id IS NOT NULL
      AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
      AND (%(device_ids)s::int[] IS NULL OR device_id = ANY (%(device_ids)s))
    GROUP BY device_id
), silent_agent AS (
    SELECT DISTINCT agent_id FROM alarm
    WHERE state IN ('open', 'acknowledged') AND condition = 'agent_silent' AND agent_id IS NOT NULL
), known AS (
    SELECT d.device_id, d.name AS device, d.municipality, d.kind, d.agent_id, a.name AS agent,
           json_build_object('ko', coalesce(d.label_ko, ''), 'en', coalesce(d.label_en, '')) AS label,
           d.latitude, d.longitude, coalesce(d.attributes, '{{}}'::jsonb) AS attributes,
           CASE WHEN active.worst = 3 THEN 'critical' WHEN active.worst = 2 THEN 'warning' WHEN active.worst = 1 THEN 'info'
                WHEN active.silent OR silent_agent.agent_id IS NOT NULL THEN 'silent'
                WHEN newest.observed_at IS NULL THEN 'unknown' ELSE 'ok' END AS state,
           newest.observed_at, coalesce(newest.values, '{{}}'::json) AS values, coalesce(active.alarms, '[]'::json) AS open_alarms
    FROM device d
    LEFT JOIN agent a ON a.agent_id = d.agent_id
    LEFT JOIN active ON active.device_id = d.device_id
    LEFT JOIN silent_agent ON silent_agent.agent_id = d.agent_id
    LEFT JOIN LATERAL ({newest}) newest ON true
    WHERE (%(permitted)s::text[] IS NULL OR d.municipality = ANY (%(permitted)s))
      AND (%(municipality)s::text IS NULL OR d.municipality = %(municipality)s)
      AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
      AND (%(circuit)s::text IS NULL OR d.attributes ->> 'circuit' = %(circuit)s)
      AND (%(device_ids)s::int[] IS NULL OR d.device_id = ANY (%(device_ids)s))
      AND (%(pattern)s::text IS NULL OR d.name ILIKE %(pattern)s OR d.label_ko ILIKE %(pattern)s OR d.label_en ILIKE %(pattern)s)
      AND d.device_id > %(after)s
)
SELECT * FROM known
WHERE (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY device_id
LIMIT %(page)s
