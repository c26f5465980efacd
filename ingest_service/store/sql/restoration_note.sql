-- Enter a restoration.
-- Parameters: made_at timestamptz (of the backup), backup text (name of its file).
INSERT INTO restoration (restoration_id, backup_made_at, backup) VALUES (gen_random_uuid(), %(made_at)s, %(backup)s)
