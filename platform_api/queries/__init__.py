"""SQL of the API: each statement is a file in sql/ with one typed function of the same name. Only this package
knows psycopg."""
