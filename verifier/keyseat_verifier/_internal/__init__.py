"""What other rooms of the client use; no stability promise."""
