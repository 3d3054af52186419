"""What the ledger can do: each function is one transaction with its audit row (return commits, raise rolls back)."""
