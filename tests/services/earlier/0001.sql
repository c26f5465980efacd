-- The tables of two kinds as version 1 made them from their profiles, with rows in each. Its numbered migration ran before.

CREATE TABLE IF NOT EXISTS observation_parking_spot (
    device_id int NOT NULL, observed_at timestamptz NOT NULL, status smallint) PARTITION BY RANGE (observed_at);
CREATE INDEX IF NOT EXISTS observation_parking_spot_time ON observation_parking_spot USING brin (observed_at) WITH (pages_per_range = 32);
CREATE TABLE IF NOT EXISTS newest_parking_spot (device_id int PRIMARY KEY, observed_at timestamptz NOT NULL, status smallint, as_of timestamptz NOT NULL) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rollup_hour_parking_spot (
    device_id int NOT NULL, bucket timestamptz NOT NULL, observations int NOT NULL, status_last smallint,
    PRIMARY KEY (device_id, bucket));
CREATE INDEX IF NOT EXISTS rollup_hour_parking_spot_bucket ON rollup_hour_parking_spot USING brin (bucket);
CREATE TABLE IF NOT EXISTS rollup_municipality_hour_parking_spot (municipality text NOT NULL, bucket timestamptz NOT NULL, devices int NOT NULL, observations bigint NOT NULL,
    PRIMARY KEY (municipality, bucket));
INSERT INTO profile (kind, definition) VALUES ('parking_spot', '{"status": {"type": "enum", "values": ["free", "occupied", "closed", "unknown"]}}');

CREATE TABLE IF NOT EXISTS observation_streetlight (
    device_id int NOT NULL, observed_at timestamptz NOT NULL, power_state smallint, illuminance_level float4, power_consumption float4, voltage float4, current float4) PARTITION BY RANGE (observed_at);
CREATE INDEX IF NOT EXISTS observation_streetlight_time ON observation_streetlight USING brin (observed_at) WITH (pages_per_range = 32);
CREATE TABLE IF NOT EXISTS newest_streetlight (device_id int PRIMARY KEY, observed_at timestamptz NOT NULL, power_state smallint, illuminance_level float4, power_consumption float4, voltage float4, current float4, as_of timestamptz NOT NULL) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rollup_minute_streetlight (
    device_id int NOT NULL, bucket timestamptz NOT NULL, observations int NOT NULL, power_state_last smallint, illuminance_level_mean float4, illuminance_level_min float4, illuminance_level_max float4, power_consumption_mean float4, power_consumption_min float4, power_consumption_max float4, voltage_mean float4, voltage_min float4, voltage_max float4, current_mean float4, current_min float4, current_max float4,
    PRIMARY KEY (device_id, bucket));
CREATE INDEX IF NOT EXISTS rollup_minute_streetlight_bucket ON rollup_minute_streetlight USING brin (bucket);
CREATE TABLE IF NOT EXISTS rollup_hour_streetlight (
    device_id int NOT NULL, bucket timestamptz NOT NULL, observations int NOT NULL, power_state_last smallint, illuminance_level_mean float4, illuminance_level_min float4, illuminance_level_max float4, power_consumption_mean float4, power_consumption_min float4, power_consumption_max float4, voltage_mean float4, voltage_min float4, voltage_max float4, current_mean float4, current_min float4, current_max float4,
    PRIMARY KEY (device_id, bucket));
CREATE INDEX IF NOT EXISTS rollup_hour_streetlight_bucket ON rollup_hour_streetlight USING brin (bucket);
CREATE TABLE IF NOT EXISTS rollup_municipality_hour_streetlight (municipality text NOT NULL, bucket timestamptz NOT NULL, devices int NOT NULL, observations bigint NOT NULL, illuminance_level_mean float4, illuminance_level_min float4, illuminance_level_max float4, power_consumption_mean float4, power_consumption_min float4, power_consumption_max float4, voltage_mean float4, voltage_min float4, voltage_max float4, current_mean float4, current_min float4, current_max float4,
    PRIMARY KEY (municipality, bucket));
INSERT INTO profile (kind, definition) VALUES ('streetlight', '{"power_state": {"type": "enum", "values": ["off", "on", "low", "booting_up"]}, "illuminance_level": {"type": "number", "values": []}, "power_consumption": {"type": "number", "values": []}, "voltage": {"type": "number", "values": []}, "current": {"type": "number", "values": []}}');

INSERT INTO municipality (code, name_ko, name_en) VALUES ('41280', '고양시', 'Goyang-si');
INSERT INTO agent (agent_id, municipality, name) VALUES (1, '41280', 'pole-01');
INSERT INTO device (device_id, municipality, name, kind, agent_id) VALUES (1, '41280', 'sl-1', 'streetlight', 1), (2, '41280', 'ps-1', 'parking_spot', 1);
INSERT INTO cursor (agent_id, epoch, seq, next_number, received, committed) VALUES (1, 7, 2, 5, 4, 4);
CREATE TABLE observation_streetlight_p2026052900 (LIKE observation_streetlight INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE observation_streetlight ATTACH PARTITION observation_streetlight_p2026052900 FOR VALUES FROM ('2026-05-29 00:00+00') TO ('2026-05-29 06:00+00');
CREATE INDEX observation_streetlight_p2026052900_device ON observation_streetlight_p2026052900 (device_id, observed_at);
INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) VALUES
    (1, '2026-05-29 00:10+00', 0, 220.0), (1, '2026-05-29 00:20+00', 1, 230.0), (1, '2026-05-29 01:10+00', 1, 225.0);
INSERT INTO newest_streetlight (device_id, observed_at, power_state, voltage, as_of) VALUES (1, '2026-05-29 01:10+00', 1, 225.0, '2026-05-29 01:10+00');
INSERT INTO rollup_hour_streetlight (device_id, bucket, observations, power_state_last, voltage_mean, voltage_min, voltage_max)
    VALUES (1, '2026-05-29 00:00+00', 2, 1, 225.0, 220.0, 230.0);
INSERT INTO rollup_municipality_hour_streetlight (municipality, bucket, devices, observations, voltage_mean, voltage_min, voltage_max)
    VALUES ('41280', '2026-05-29 00:00+00', 1, 2, 225.0, 220.0, 230.0);
INSERT INTO rollup_watermark (kind, closed_until) VALUES ('streetlight', '2026-05-29 01:00+00');
INSERT INTO rollup_due (kind, hour) VALUES ('streetlight', '2026-05-29 01:00+00');
