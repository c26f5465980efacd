-- Advance locked cursors and add to their accounts (in observations).
-- Arrays of one length; clock_ms ms since 1970 UTC, 0 when the agent said none. Expects the primary key of cursor.
UPDATE cursor c
SET seq = k.seq,
    next_number = k.next_number,
    clock_at = CASE WHEN k.clock_ms > 0 THEN to_timestamp(k.clock_ms / 1000.0) ELSE c.clock_at END,
    backlog = k.backlog,
    seen_at = now(),
    received = c.received + k.received,
    committed = c.committed + k.committed,
    duplicate = c.duplicate + k.duplicate,
    out_of_order = c.out_of_order + k.out_of_order,
    quarantined = c.quarantined + k.quarantined,
    lost = c.lost + k.lost
FROM unnest(
    %(agents)s::int[], %(epochs)s::bigint[], %(seqs)s::bigint[], %(nexts)s::bigint[], %(clocks)s::bigint[], %(backlogs)s::bigint[],
    %(received)s::bigint[], %(committed)s::bigint[], %(duplicate)s::bigint[], %(out_of_order)s::bigint[], %(quarantined)s::bigint[], %(lost)s::bigint[]
) AS k (agent_id, epoch, seq, next_number, clock_ms, backlog, received, committed, duplicate, out_of_order, quarantined, lost)
WHERE c.agent_id = k.agent_id AND c.epoch = k.epoch
