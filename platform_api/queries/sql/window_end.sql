-- Take a maintenance window away: what it holds back becomes open. window_id: bigint; permitted: text[] or null (all).
-- Index: maintenance_window (window_id), primary.
DELETE FROM maintenance_window
WHERE window_id = %(window_id)s AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
RETURNING window_id
