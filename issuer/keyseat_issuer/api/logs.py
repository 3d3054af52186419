"""Logs as one JSON object a line. Tokens, bodies and query strings never get here; paths only as route templates."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LOGGER = "keyseat.service"
_MOST_OF_A_CALLERS = 200

_FIELDS = (
    *("request_id", "route", "method", "status", "milliseconds", "client", "code", "holder"),
    *("reason", "count", "pid", "exit_code", "seconds"),
)


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON: time, level, logger, message, known extra fields, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _without_secrets(record),
        }
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # ASCII: a request id or path from a caller cannot move the cursor of the terminal that shows the log.
        return json.dumps(line, ensure_ascii=True, default=str)


def _without_secrets(record: logging.LogRecord) -> str:
    """Return the message; Django's name the path of the request, which may hold the key of a password-reset link."""
    message = record.getMessage()
    request = getattr(record, "request", None)
    path = getattr(request, "path", "")
    if len(path) > 1:
        match = getattr(request, "resolver_match", None)
        if match is None:
            message = message.replace(path, "(unknown path)")
        elif match.kwargs:
            message = message.replace(path, f"/{match.route}")
    return message


def calm(record: logging.LogRecord) -> bool:
    """Make what a caller did wrong a short warning: Django's errors with a traceback could be had by anybody."""
    if record.name.startswith("django.security."):
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.msg, record.args = record.getMessage()[:_MOST_OF_A_CALLERS], ()
    if record.name.startswith("django.") and record.levelno < logging.ERROR:
        record.exc_info = record.exc_text = None
    return record.levelno >= logging.getLogger().level


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log record of this process to ``stream`` (stderr) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(calm)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Below warnings, these repeat what the access log says, or name internals.
    for name in ("uvicorn.access", "asyncio", "django.request", "httptools"):
        logging.getLogger(name).setLevel(logging.WARNING)
