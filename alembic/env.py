"""Runs the migrations on the connection redirectd gives; there is no ini file and no offline mode."""

from alembic import context

from redirectd.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can't alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
