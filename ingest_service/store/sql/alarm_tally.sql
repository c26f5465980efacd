-- Active alarms of devices (agents) by circuit and agent: all, those in no group, and the groups of the others.
-- municipalities, kinds (null: agents), conditions: text[], as long as each other.
-- Expects alarm_active, the partial index of active alarms that are no groups; LATERAL, so that it is used for each place even
-- while the table has grown beyond its statistics.
SELECT k.municipality, k.kind, k.condition, found.circuit, found.agent_id, found.total, found.loose, found.parents
FROM unnest(%(municipalities)s::text[], %(kinds)s::text[], %(conditions)s::text[]) AS k (municipality, kind, condition)
CROSS JOIN LATERAL (
    SELECT circuit, agent_id, count(*) AS total, count(*) FILTER (WHERE parent_id IS NULL) AS loose,
           coalesce(array_agg(DISTINCT parent_id) FILTER (WHERE parent_id IS NOT NULL), '{}') AS parents
    FROM alarm
    WHERE municipality = k.municipality AND condition = k.condition AND kind IS NOT DISTINCT FROM k.kind
      AND state IN ('open', 'acknowledged') AND group_scope IS NULL
    GROUP BY circuit, agent_id
) found
