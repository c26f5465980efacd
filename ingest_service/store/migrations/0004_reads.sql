-- Indexes that the API's reads expect. Forward only.

-- The devices of a municipality by kind: the map, the fullest and weakest of a town, a town's hourly means.
CREATE INDEX device_town ON device (municipality, kind, device_id);

-- Devices by place: a map's box, the nearest to a point. Degrees; metres are worked out for the few that an index finds.
CREATE INDEX device_place ON device USING gist (point(longitude, latitude));
