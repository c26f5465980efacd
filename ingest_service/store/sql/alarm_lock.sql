-- Until the transaction ends, nobody else changes several alarms of these municipalities. municipalities: text[].
SELECT alarm_lock(%(municipalities)s::text[])
