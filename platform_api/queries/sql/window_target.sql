-- Whether a municipality has this agent, device or circuit; a row, or none. municipality, scope, target: text.
-- Index: agent and device by (municipality, name), their unique keys; device_town for a circuit.
SELECT 1 AS known WHERE CASE %(scope)s::text
    WHEN 'agent' THEN EXISTS (SELECT FROM agent WHERE municipality = %(municipality)s AND name = %(target)s)
    WHEN 'device' THEN EXISTS (SELECT FROM device WHERE municipality = %(municipality)s AND name = %(target)s)
    WHEN 'circuit' THEN EXISTS (SELECT FROM device WHERE municipality = %(municipality)s AND attributes ->> 'circuit' = %(target)s)
    ELSE true END
