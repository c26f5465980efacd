-- The devices of a kind nearest to a point, within a radius, with their distance in metres.
-- permitted: text[] or null (all); municipality: text or null; kind: text; latitude, longitude: degrees; radius_m: metres;
-- since: timestamptz, older observations do not count, or null: all, also devices never heard of; most: rows.
-- inside: the box or boxes that hold the radius; having: conditions on the newest observation n; newest: newest_<kind>.
-- The distance is Lambert's, on the ellipsoid of WGS 84: a hundred-thousandth wrong at most (Lambert 1942).
-- Index: device_place (point(longitude, latitude)), GiST; newest_<kind> (device_id), primary.
WITH near AS (
    SELECT d.device_id, radians(d.longitude - %(longitude)s) AS turn,
           atan((1 - 1 / 298.257223563) * tan(radians(d.latitude))) AS there,
           atan((1 - 1 / 298.257223563) * tan(radians(%(latitude)s))) AS here
    FROM device d LEFT JOIN {newest} n ON n.device_id = d.device_id
    WHERE {inside} AND d.kind = %(kind)s AND {having}
      AND (%(since)s::timestamptz IS NULL OR n.observed_at >= %(since)s)
      AND (%(permitted)s::text[] IS NULL OR d.municipality = ANY (%(permitted)s))
      AND (%(municipality)s::text IS NULL OR d.municipality = %(municipality)s)
), angled AS (
    SELECT device_id, (here + there) / 2 AS p, (there - here) / 2 AS q,
           2 * asin(least(1, sqrt(sin((there - here) / 2) ^ 2 + cos(here) * cos(there) * sin(turn / 2) ^ 2))) AS angle
    FROM near
), measured AS (
    SELECT device_id, 6378137 * (angle - 0.5 / 298.257223563 * (
               coalesce((angle - sin(angle)) * (sin(p) * cos(q)) ^ 2 / nullif(cos(angle / 2) ^ 2, 0), 0)
             + coalesce((angle + sin(angle)) * (cos(p) * sin(q)) ^ 2 / nullif(sin(angle / 2) ^ 2, 0), 0))) AS distance_m
    FROM angled
)
SELECT device_id, distance_m FROM measured WHERE distance_m <= %(radius_m)s
ORDER BY distance_m, device_id
LIMIT %(most)s
