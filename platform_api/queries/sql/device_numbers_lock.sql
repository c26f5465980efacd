-- Serialises the giving of device numbers with every other writer of device, until the end of the transaction. No parameters.
LOCK TABLE device IN SHARE ROW EXCLUSIVE MODE
