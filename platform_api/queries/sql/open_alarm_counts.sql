-- Active alarms by severity, members of groups left out. permitted: text[] or null (all). Index: alarm's partial index of active states.
SELECT count(*) FILTER (WHERE severity = 1) AS info, count(*) FILTER (WHERE severity = 2) AS warning,
       count(*) FILTER (WHERE severity = 3) AS critical, count(*) AS total
FROM alarm
WHERE state IN ('open', 'acknowledged') AND parent_id IS NULL AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
