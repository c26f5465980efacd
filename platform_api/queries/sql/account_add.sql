-- A new account. name, password_hash, role, municipality (null: all), language: text.
-- The unique key of account (name) refuses a name that is taken.
INSERT INTO account (name, password_hash, role, municipality, language, created_at)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(municipality)s, %(language)s, now())
RETURNING account_id
