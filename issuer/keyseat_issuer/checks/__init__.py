"""Holding the ledger against its audit log and the trust bundles: `keyseat-issuer audit verify`."""
