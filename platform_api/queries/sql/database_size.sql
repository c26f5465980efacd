-- Size of the database in bytes. No parameters.
SELECT pg_database_size(current_database()) AS size_bytes
