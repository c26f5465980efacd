-- Where the named epochs stand; no row means nothing is committed.
-- agents int[], epochs bigint[]. Expects the primary key of cursor.
SELECT c.agent_id, c.epoch, c.seq, c.next_number
FROM cursor c
JOIN unnest(%(agents)s::int[], %(epochs)s::bigint[]) AS k (agent_id, epoch) ON c.agent_id = k.agent_id AND c.epoch = k.epoch
