-- The newest observations of a kind that were written since an instant, as packed columns (big-endian, one item a device, all
-- in the same order; a third of the time that rows take), one row a municipality.
-- municipalities: text[]; kind: text; since: timestamptz.
-- packed: the properties, null as NaN or the least number; newest: newest_<kind>.
-- Index: newest_<kind> is read whole when much of it is asked for (an index on as_of would make each of its updates dear);
-- otherwise device_town (municipality, kind) and newest_<kind> (device_id), primary.
SELECT d.municipality, string_agg(int4send(n.device_id), ''::bytea) AS device_id,
       string_agg(timestamptz_send(n.observed_at), ''::bytea) AS observed_at,
       {packed}, floor(extract(epoch FROM max(n.as_of)) * 1000)::bigint AS as_of
FROM {newest} n JOIN device d ON d.device_id = n.device_id
WHERE n.as_of >= %(since)s AND d.municipality = ANY (%(municipalities)s) AND d.kind = %(kind)s
GROUP BY d.municipality
