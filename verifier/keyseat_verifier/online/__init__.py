"""The online half of the client: leases, server, credentials. Nothing here is loaded while offline files suffice."""
