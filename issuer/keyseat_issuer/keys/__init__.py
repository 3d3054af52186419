"""Private keys: kept encrypted, opened, signed with, also in an HSM."""
