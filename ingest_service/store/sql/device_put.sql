-- Register a device, or update it. agent: a name, or null. latitude, longitude: degrees, WGS 84, or null.
-- Expects the unique keys (municipality, name) of device and agent.
INSERT INTO device (municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, attributes)
VALUES (%(municipality)s, %(device)s, %(kind)s,
        (SELECT agent_id FROM agent WHERE municipality = %(municipality)s AND name = %(agent)s),
        %(label_ko)s, %(label_en)s, %(latitude)s, %(longitude)s, %(attributes)s)
ON CONFLICT (municipality, name) DO UPDATE
SET kind = excluded.kind, agent_id = excluded.agent_id, label_ko = excluded.label_ko, label_en = excluded.label_en,
    latitude = excluded.latitude, longitude = excluded.longitude, attributes = excluded.attributes
