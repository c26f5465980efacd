-- Register a municipality, or update it. latitude, longitude: degrees, WGS 84, or null. Expects the primary key.
INSERT INTO municipality (code, name_ko, name_en, latitude, longitude, time_zone)
VALUES (%(code)s, %(name_ko)s, %(name_en)s, %(latitude)s, %(longitude)s, %(time_zone)s)
ON CONFLICT (code) DO UPDATE
SET name_ko = excluded.name_ko, name_en = excluded.name_en, latitude = excluded.latitude, longitude = excluded.longitude,
    time_zone = excluded.time_zone
