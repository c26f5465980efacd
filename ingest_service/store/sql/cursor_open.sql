-- Rows for epochs never heard of before; a row that is there stays as it is.
-- agents int[], epochs bigint[], in key order. Expects the primary key of cursor.
INSERT INTO cursor (agent_id, epoch)
SELECT agent_id, epoch FROM unnest(%(agents)s::int[], %(epochs)s::bigint[]) AS k (agent_id, epoch)
ON CONFLICT DO NOTHING
