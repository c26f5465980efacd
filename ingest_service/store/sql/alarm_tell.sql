-- Tell the API's processes that these alarms changed. ids: bigint[].
SELECT pg_notify(current_schema() || '_alarm_changed', alarm_id::text) FROM unnest(%(ids)s::bigint[]) AS alarm_id
