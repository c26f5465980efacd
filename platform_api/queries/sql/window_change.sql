-- A maintenance window as it shall be from now on. window_id: bigint; permitted: text[] or null (all); municipality: that it has;
-- scope, target (''), reason, name: text; from_at, to_at: timestamptz. Index: maintenance_window (window_id), primary.
UPDATE maintenance_window
SET scope = %(scope)s, target = %(target)s, begins_at = %(from_at)s, ends_at = %(to_at)s, reason = %(reason)s, changed_at = now(), changed_by = %(name)s
WHERE window_id = %(window_id)s AND municipality = %(municipality)s AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
RETURNING window_id
