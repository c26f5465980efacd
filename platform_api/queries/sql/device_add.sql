-- Registers a device of an agent of its municipality; no row when that agent does not exist. The unique key of
-- device (municipality, name) refuses a name that is taken. device_id is the next free number; the lock keeps two from taking the same.
-- municipality, device, kind, agent, label_ko, label_en: text; latitude, longitude: degrees; attributes: jsonb.
-- Index: agent (municipality, name), unique; device (device_id), primary.
INSERT INTO device (device_id, municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, attributes, registered_at)
SELECT (SELECT coalesce(max(device_id), 0) + 1 FROM device), a.municipality, %(device)s, %(kind)s, a.agent_id,
       %(label_ko)s, %(label_en)s, %(latitude)s, %(longitude)s, %(attributes)s, now()
FROM agent a WHERE a.municipality = %(municipality)s AND a.name = %(agent)s
RETURNING device_id
