"""The vendor side: keys, ledger, issuing, and the server."""
