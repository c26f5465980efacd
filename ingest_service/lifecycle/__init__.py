"""The life of data beyond the database: export, import, backup, restore. SQL stays in `ingest_service.store`."""
