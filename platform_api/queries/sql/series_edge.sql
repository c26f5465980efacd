-- Up to where the rollups of a kind are closed; no row, or null, before the first. kind: text; unit: minute, hour or day.
-- Index: rollup_watermark (kind), primary.
SELECT CASE WHEN %(unit)s = 'day' THEN days_until ELSE closed_until END AS closed_until
FROM rollup_watermark WHERE kind = %(kind)s
