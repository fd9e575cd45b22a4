"""Run by Alembic with the connection that `farm.db.migrate` hands over."""

from alembic import context

from farm.tables import Base

# The transaction is the caller's: SQLite too undoes half a migration, when it is told to begin.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
