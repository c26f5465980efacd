-- Late observations of a kind, by hour. kind: text; devices: int[], distinct in each hour, one hour after the other; hours:
-- timestamptz[]; firsts, lasts: int[], where in devices each hour begins and ends, from 1.
INSERT INTO rollup_due (kind, hour, devices)
SELECT %(kind)s, hour, (%(devices)s::int[])[first:last]
FROM unnest(%(hours)s::timestamptz[], %(firsts)s::int[], %(lasts)s::int[]) AS k (hour, first, last)
