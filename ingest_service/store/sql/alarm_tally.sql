-- Active alarms of devices (agents) by circuit and agent: all, those in no group, and the groups of the others.
-- municipalities, kinds (null: agents), conditions: text[], as long as each other.
-- Expects alarm_active, the partial index of active alarms that are no groups.
SELECT al.municipality, al.kind, al.condition, al.circuit, al.agent_id, count(*), count(*) FILTER (WHERE al.parent_id IS NULL),
       coalesce(array_agg(DISTINCT al.parent_id) FILTER (WHERE al.parent_id IS NOT NULL), '{}')
FROM unnest(%(municipalities)s::text[], %(kinds)s::text[], %(conditions)s::text[]) AS k (municipality, kind, condition)
JOIN alarm al ON al.municipality = k.municipality AND al.condition = k.condition AND al.kind IS NOT DISTINCT FROM k.kind
WHERE al.state IN ('open', 'acknowledged') AND al.group_scope IS NULL
GROUP BY 1, 2, 3, 4, 5
