-- The map of one kind: GeoJSON features as one text joined by commas, made in the server so that 100,000 of them cost
-- the API no object each. permitted: text[] or null (all); municipality: text or null; kind: text;
-- inside: true, or the box. kind: its name, and values: its
-- properties, as JSON text (put together by hand: json_build_object takes several times as long). newest: newest_<kind>.
-- Index: of a box device_place (point(longitude, latitude)), GiST, and newest_<kind> (device_id), primary; of a municipality
-- device_town (municipality, kind); else device and newest_<kind> are read whole and hashed.
WITH active AS (
    SELECT device_id, max(severity) FILTER (WHERE condition <> 'silent') AS worst, bool_or(condition = 'silent') AS silent,
           max(changed_at) AS changed_at
    FROM alarm
    WHERE state IN ('open', 'acknowledged') AND device_id IS NOT NULL
      AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
    GROUP BY device_id
), silent_agent AS (
    SELECT DISTINCT agent_id FROM alarm
    WHERE state IN ('open', 'acknowledged') AND condition = 'agent_silent' AND agent_id IS NOT NULL
), chosen AS (
    SELECT '{{"type":"Feature","id":' || d.device_id || ',"geometry":{{"type":"Point","coordinates":[' || d.longitude || ',' || d.latitude
           || ']}},"properties":{{"device":' || to_json(d.name)::text || ',"municipality":' || to_json(d.municipality)::text || {kind}
           || ',"agent_id":' || coalesce(d.agent_id::text, 'null') || ',"state":"'
           || CASE WHEN active.worst = 3 THEN 'critical' WHEN active.worst = 2 THEN 'warning' WHEN active.worst = 1 THEN 'info'
                   WHEN active.silent OR silent_agent.agent_id IS NOT NULL THEN 'silent'
                   WHEN n.observed_at IS NULL THEN 'unknown' ELSE 'ok' END
           || '","observed_at":' || coalesce(floor(extract(epoch FROM n.observed_at) * 1000)::bigint::text, 'null') || {values} || '}}}}' AS feature,
           greatest(n.as_of, active.changed_at, d.registered_at) AS changed_at
    FROM device d
    LEFT JOIN active ON active.device_id = d.device_id
    LEFT JOIN silent_agent ON silent_agent.agent_id = d.agent_id
    LEFT JOIN {newest} n ON n.device_id = d.device_id
    WHERE d.kind = %(kind)s AND d.latitude IS NOT NULL AND d.longitude IS NOT NULL
      AND (%(permitted)s::text[] IS NULL OR d.municipality = ANY (%(permitted)s))
      AND (%(municipality)s::text IS NULL OR d.municipality = %(municipality)s)
      AND {inside}
    ORDER BY d.device_id
)
SELECT string_agg(feature, ',') AS features, max(changed_at) AS as_of FROM chosen
