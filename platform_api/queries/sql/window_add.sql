-- A new maintenance window. municipality, scope, target (''), reason, name: text; from_at, to_at: timestamptz.
-- No row when the municipality does not exist. Index: municipality (code), primary.
INSERT INTO maintenance_window (municipality, scope, target, begins_at, ends_at, reason, created_by, changed_by)
SELECT code, %(scope)s, %(target)s, %(from_at)s, %(to_at)s, %(reason)s, %(name)s, %(name)s FROM municipality WHERE code = %(municipality)s
RETURNING window_id
