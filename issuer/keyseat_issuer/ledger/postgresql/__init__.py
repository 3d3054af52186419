"""PostgreSQL as the ledger uses it: Django's backend, whose connections do not wait for ever."""
