"""What all rooms of the ledger use: paging, plain SQL, table text, append-only rows."""
