-- Up to where the rollups of a kind are closed (no row, or null, before the first), and whether late observations of a device's
-- closed hours in a span are marked, and not in its rollups yet.
-- kind: text; unit: minute, hour or day; device_id: int, or null for no device's; from_at, to_at: timestamptz.
-- Index: rollup_watermark (kind), primary; rollup_due (kind, hour).
SELECT CASE WHEN %(unit)s = 'day' THEN days_until ELSE closed_until END AS closed_until, EXISTS (
           SELECT FROM rollup_due
           WHERE kind = %(kind)s AND hour >= date_trunc('hour', %(from_at)s::timestamptz) AND hour < %(to_at)s
             AND (devices IS NULL OR %(device_id)s = ANY (devices)) AND %(device_id)s::int IS NOT NULL
       ) AS late
FROM rollup_watermark WHERE kind = %(kind)s
