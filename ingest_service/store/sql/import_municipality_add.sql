-- A municipality known by its code only; one that is there stays as it is.
-- Parameters: code text. Expects the primary key.
INSERT INTO municipality (code, name_ko, name_en) VALUES (%(code)s, %(code)s, %(code)s) ON CONFLICT (code) DO NOTHING
