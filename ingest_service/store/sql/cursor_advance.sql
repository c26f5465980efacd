-- Lock the cursors of a flush in key order, and advance those that stand where the worker has them (compare and set), adding to their accounts.
-- Arrays of one length; accounts in observations; clocks timestamptz[], null when the agent said none. The caller compares the count of rows.
-- Expects the primary key of cursor.
WITH asked AS (
    SELECT * FROM unnest(
        %(agents)s::int[], %(epochs)s::bigint[], %(before_seqs)s::bigint[], %(before_nexts)s::bigint[], %(seqs)s::bigint[], %(nexts)s::bigint[],
        %(clocks)s::timestamptz[], %(backlog)s::bigint[],
        %(received)s::bigint[], %(committed)s::bigint[], %(duplicate)s::bigint[], %(out_of_order)s::bigint[], %(quarantined)s::bigint[], %(lost)s::bigint[]
    ) AS k (agent_id, epoch, before_seq, before_next, seq, next_number, clock_at, backlog, received, committed, duplicate, out_of_order, quarantined, lost)
), locked AS MATERIALIZED (
    SELECT c.agent_id, c.epoch
    FROM cursor c JOIN asked k ON c.agent_id = k.agent_id AND c.epoch = k.epoch
    ORDER BY c.agent_id, c.epoch
    FOR UPDATE OF c
)
UPDATE cursor c
SET seq = k.seq,
    next_number = k.next_number,
    clock_at = coalesce(k.clock_at, c.clock_at),
    backlog = k.backlog,
    seen_at = now(),
    received = c.received + k.received,
    committed = c.committed + k.committed,
    duplicate = c.duplicate + k.duplicate,
    out_of_order = c.out_of_order + k.out_of_order,
    quarantined = c.quarantined + k.quarantined,
    lost = c.lost + k.lost
FROM locked l JOIN asked k ON l.agent_id = k.agent_id AND l.epoch = k.epoch
WHERE c.agent_id = l.agent_id AND c.epoch = l.epoch AND c.seq = k.before_seq AND c.next_number = k.before_next
