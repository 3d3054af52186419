"""The client API: sessions, the newest trust bundle, one's own offline licences."""
