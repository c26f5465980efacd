-- The devices of a kind whose newest value of a property is highest (or lowest), the first of them first.
-- permitted: text[] or null (all); municipality: text or null; kind: text; since: timestamptz, older observations do not count;
-- most: rows. newest: newest_<kind>; value: the property, of n, as float8; direction: DESC or ASC; here: true, or which
-- devices belong to the municipalities (left out for all, so that only the `most` are looked up).
-- Index: newest_<kind> is read once (an index on each property would make each of its updates dear), keeping the `most`;
-- device_town (municipality, kind, device_id) says which belong to a municipality.
SELECT n.device_id, {value} AS value
FROM {newest} n
WHERE {value} IS NOT NULL AND {value} <> 'NaN' AND n.observed_at >= %(since)s AND {here}
ORDER BY {value} {direction}, n.device_id
LIMIT %(most)s
