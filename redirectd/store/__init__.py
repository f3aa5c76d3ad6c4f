"""The database: tables, migrations and the few queries."""
