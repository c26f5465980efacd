-- Up to where the rollups of a kind are closed; no row before the first. kind: text. Index: rollup_watermark (kind), primary.
SELECT closed_until FROM rollup_watermark WHERE kind = %(kind)s
