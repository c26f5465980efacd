-- Asks ingest to admit one observation; no row unless it is an observation that nobody asked for yet and that is not admitted.
-- quarantine_id: bigint; permitted: text[] or null (all); name: who. Index: quarantine (quarantine_id), primary.
UPDATE quarantine SET admit_requested_at = now(), admit_requested_by = %(name)s
WHERE quarantine_id = %(quarantine_id)s AND admitted_at IS NULL AND admit_requested_at IS NULL AND content IS NOT NULL
  AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
RETURNING quarantine_id
