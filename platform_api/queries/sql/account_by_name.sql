-- The account that signs in. name: text. Index: account (name), unique.
SELECT account_id, name, password_hash, role, municipality, language FROM account WHERE name = %(name)s
