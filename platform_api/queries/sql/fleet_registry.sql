-- What the registry holds now: the codes of all municipalities, the newest change of a device, where devices changed
-- since `seen`, and the server's clock. seen: bigint, 0 for all. Index: device_change (change); municipality is small.
SELECT coalesce((SELECT array_agg(code ORDER BY code) FROM municipality), '{{}}') AS codes,
       coalesce((SELECT max(change) FROM device), 0) AS change,
       coalesce((SELECT array_agg(DISTINCT municipality) FROM device WHERE change > %(seen)s), '{{}}') AS changed,
       floor(extract(epoch FROM now()) * 1000)::bigint AS now_ms
