-- A device known by its name only; one that is there stays as it is.
-- Parameters: town text (code of the municipality), name text, kind text. Expects the unique key (municipality, name).
INSERT INTO device (municipality, name, kind) VALUES (%(town)s, %(name)s, %(kind)s) ON CONFLICT (municipality, name) DO NOTHING
