-- Whether a municipality is known. code: text. Index: municipality (code), primary.
SELECT code FROM municipality WHERE code = %(code)s
