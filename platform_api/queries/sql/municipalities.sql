-- Municipalities with their numbers of devices by kind and of active alarms. permitted: text[] or null (all).
-- Index: device is read whole (a count by kind); alarm by its partial index of active states.
SELECT m.code, json_build_object('ko', m.name_ko, 'en', m.name_en) AS name, m.latitude, m.longitude, m.time_zone,
       coalesce(d.devices, '{{}}'::json) AS devices, coalesce(a.open_alarms, 0) AS open_alarms
FROM municipality m
LEFT JOIN (
    SELECT municipality, json_object_agg(kind, n) AS devices
    FROM (SELECT municipality, kind, count(*) AS n FROM device
          WHERE (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s)) GROUP BY 1, 2) counted
    GROUP BY 1) d ON d.municipality = m.code
LEFT JOIN (
    SELECT municipality, count(*) AS open_alarms FROM alarm WHERE state IN ('open', 'acknowledged') AND parent_id IS NULL GROUP BY 1
) a ON a.municipality = m.code
WHERE (%(permitted)s::text[] IS NULL OR m.code = ANY (%(permitted)s))
ORDER BY m.code
