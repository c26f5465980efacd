-- Registers a device of an agent of its municipality; no row when that agent does not exist. The unique key of
-- device (municipality, name) refuses a name that is taken.
-- municipality, device, kind, agent, label_ko, label_en: text; latitude, longitude: degrees; attributes: jsonb.
-- Index: agent (municipality, name), unique.
INSERT INTO device (municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, attributes)
SELECT a.municipality, %(device)s, %(kind)s, a.agent_id, %(label_ko)s, %(label_en)s, %(latitude)s, %(longitude)s, %(attributes)s
FROM agent a WHERE a.municipality = %(municipality)s AND a.name = %(agent)s
RETURNING device_id
