"""The activation service: one ASGI application for the client API and the administration API."""
