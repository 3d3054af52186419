"""The composition root: one ASGI process that holds API, pages, session desk, probes and limits."""
