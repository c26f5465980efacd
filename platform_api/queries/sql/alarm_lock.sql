-- Until the transaction ends, nobody else changes more than one alarm of this alarm's municipality at once (ingest, groups).
-- alarm_id: bigint; permitted: text[] or null (all). Index: alarm (alarm_id), primary.
SELECT alarm_lock(ARRAY[municipality])::text FROM alarm
WHERE alarm_id = %(alarm_id)s AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
