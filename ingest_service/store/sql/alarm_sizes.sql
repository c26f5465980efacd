-- How many devices of a kind (or agents) groups have, in the order asked. scopes, municipalities, kinds (null: agents), keys: text[].
-- Expects device_circuit, device_agent, device_town, and the unique key of agent.
SELECT CASE
    WHEN k.kind IS NULL THEN (SELECT count(*) FROM agent WHERE municipality = k.municipality)
    WHEN k.scope = 'circuit' THEN (SELECT count(*) FROM device WHERE municipality = k.municipality AND kind = k.kind AND attributes ->> 'circuit' = k.key)
    WHEN k.scope = 'agent' THEN (SELECT count(*) FROM device WHERE agent_id = nullif(k.key, '')::int AND kind = k.kind)
    ELSE (SELECT count(*) FROM device WHERE municipality = k.municipality AND kind = k.kind) END
FROM unnest(%(scopes)s::text[], %(municipalities)s::text[], %(kinds)s::text[], %(keys)s::text[]) WITH ORDINALITY AS k (scope, municipality, kind, key, place)
ORDER BY k.place
