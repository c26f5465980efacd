-- Lock the cursors of a flush, in key order, and read where they stand.
-- agents int[], epochs bigint[]: the keys, all present. Expects the primary key of cursor.
SELECT c.agent_id, c.epoch, c.seq, c.next_number
FROM cursor c
JOIN unnest(%(agents)s::int[], %(epochs)s::bigint[]) AS k (agent_id, epoch) ON c.agent_id = k.agent_id AND c.epoch = k.epoch
ORDER BY c.agent_id, c.epoch
FOR UPDATE OF c
