-- Names of the accounts that see a municipality. municipality: text, that the caller sees; name: text or null, only this one.
-- Index: none, account is small.
SELECT name FROM account
WHERE (municipality IS NULL OR municipality = %(municipality)s) AND (%(name)s::text IS NULL OR name = %(name)s)
ORDER BY name
