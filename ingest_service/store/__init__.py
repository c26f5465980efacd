"""The store: schema, migrations, and every SQL statement of the ingest service. psycopg stays in here."""
