-- Numbers for new alarms, rising. count: how many.
SELECT nextval(pg_get_serial_sequence('alarm', 'alarm_id')) FROM generate_series(1, %(count)s) ORDER BY 1
