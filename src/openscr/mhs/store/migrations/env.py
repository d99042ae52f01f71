"""How alembic runs our migrations: on the connection that the store hands over, all in one transaction.

Without a connection it writes them down, for the PostgreSQL store to run in a transaction of its own.
"""

from alembic import context

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", transactional_ddl=False)
else:
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
