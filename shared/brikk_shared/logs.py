"""Log lines: JSON objects, or text for people; with the call they belong to, without secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Literal, TypeAlias

import structlog
from google.protobuf.message import Message

from brikk_shared.call import call_under_way
from brikk_shared.redact import redacted

Event: TypeAlias = MutableMapping[str, object]


def set_up_logs(*, level: str, form: Literal["json", "console"]) -> None:
    """Send every log line of the process to stderr, those of libraries too. Called at start."""
    shared: list[structlog.typing.Processor] = [
        add_call,
        render_messages,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor]
    if form == "json":
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Not the default's tracebacks, which show local variables, and with them secrets.
        plain = structlog.dev.plain_traceback
        renderers = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Their own chatter says nothing that our lines do not.
    for name in ("aiosqlite", "alembic", "asyncio", "celery", "grpc", "sqlalchemy"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def add_call(_logger: object, _method: str, event: Event) -> Event:
    """Name the call under way in each line that is written during it."""
    call = call_under_way()
    if call is not None:
        event.setdefault("request_id", call.request_id)
    return event


def render_messages(_logger: object, _method: str, event: Event) -> Event:
    """Write messages as text, without the fields that their contract marks `debug_redact`."""
    for key, value in event.items():
        if isinstance(value, Message):
            event[key] = str(redacted(value)).strip()
    return event
