"""How webhooks and their deliveries look to people."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brikk.webhooks.v1 import insight_pb2, replay_pb2
from brikk.webhooks.v1 import webhook_pb2 as pb
from brikk_cli.render import duration, moment, plain, state, table


def webhooks_table(webhooks: Iterable[pb.Webhook]) -> Table:
    """A line per webhook."""
    rows = (
        (
            each.name,
            state(pb.Webhook.State.Name(each.state)),
            each.url,
            ", ".join(each.event_types),
            moment(each.create_time),
            each.description,
        )
        for each in webhooks
    )
    return table(("webhook", "state", "url", "events", "created", "description"), rows)


def webhook_view(webhook: pb.Webhook) -> RenderableType:
    """A webhook with what was said of it, and the keys that verify its deliveries."""
    head = plain(f"{webhook.name}: ").append_text(state(pb.Webhook.State.Name(webhook.state)))
    if webhook.state_reason:
        head.append_text(plain(f": {webhook.state_reason}"))
    keep = webhook.payload_retention
    facts = {
        "sends": f"{', '.join(webhook.event_types)} to {webhook.url}",
        "secret": f"{webhook.secret} (keep it: it is not shown again)" if webhook.secret else "",
        "if": webhook.filter,
        "failed": f"the condition, on {webhook.filter_failures} events, which did not pass"
        if webhook.filter_failures
        else "",
        "of channels": ", ".join(webhook.channels),
        "payload": "thin" if webhook.payload_mode == pb.Webhook.PAYLOAD_MODE_THIN else "",
        "with headers": ", ".join(webhook.header_names),
        "at most": ", ".join(_bounds(webhook)),
        "in order of": webhook.ordering_key,
        "retries after": ", ".join(_time(each) for each in webhook.retry_schedule),
        "keeps bodies": _time(keep) if webhook.HasField("payload_retention") else "",
        "asked first": "yes, by OPTIONS" if webhook.handshake else "",
        "description": webhook.description,
    }
    lines = [plain(f"{name}: {fact}") for name, fact in facts.items() if fact]
    rows = (
        (
            each.version,
            pb.Webhook.SignatureScheme.Name(each.scheme).rpartition("_")[2].lower(),
            each.public_key,
            moment(each.expire_time) if each.HasField("expire_time") else "",
        )
        for each in webhook.signing_keys
    )
    return Group(head, *lines, table(("key", "signs", "public key", "until"), rows))


def deliveries_table(deliveries: Iterable[pb.Delivery]) -> Table:
    """A line per delivery."""
    rows = (
        (
            each.name.rpartition("/")[2],
            state(pb.Delivery.State.Name(each.state)),
            each.event_type,
            each.subject,
            each.attempts,
            each.response_status or "",
            moment(each.create_time),
            moment(each.next_attempt_time),
        )
        for each in deliveries
    )
    columns = ("delivery", "state", "event", "subject", "attempts", "status", "taken in", "next")
    return table(columns, rows)


def attempts_table(attempts: Iterable[pb.Attempt]) -> Table:
    """A line per attempt."""
    rows = (
        (
            each.number,
            moment(each.start_time),
            _time(each.latency),
            each.response_status or "",
            each.error,
        )
        for each in attempts
    )
    return table(("attempt", "began", "took", "status", "error"), rows)


def replay_line(replay: replay_pb2.Replay) -> Text:
    """How far a replay has come."""
    line = plain(f"{replay.name}: ").append_text(state(replay_pb2.Replay.State.Name(replay.state)))
    line.append_text(plain(f", {replay.replayed} replayed"))
    if replay.erased:
        line.append_text(plain(f", {replay.erased} no longer kept"))
    return line


def stats_view(stats: insight_pb2.WebhookStats) -> RenderableType:
    """How the deliveries of a window went."""
    lines = [
        plain(f"{stats.webhook}: {stats.deliveries} deliveries"),
        plain(f"made from {moment(stats.start_time)} to {moment(stats.end_time)}"),
        plain(
            f"{stats.delivered} delivered, {stats.pending} pending, {stats.failed} failed,"
            f" {stats.cancelled} cancelled"
        ),
    ]
    if stats.attempts:
        times = (stats.latency_p50, stats.latency_p95, stats.latency_p99)
        half, most, nearly = map(_time, times)
        took = f"half within {half}, 95 % within {most}, 99 % within {nearly}"
        lines.append(plain(f"{stats.attempts} attempts: {took}"))
    rows = ((each.response_status or "no answer", each.attempts) for each in stats.statuses)
    return Group(*lines, *([table(("status", "attempts"), rows)] if stats.statuses else []))


def _bounds(webhook: pb.Webhook) -> Iterable[str]:
    if webhook.max_rate:
        yield f"{webhook.max_rate} per minute"
    if webhook.max_in_flight:
        yield f"{webhook.max_in_flight} at once"


def _time(value: Duration) -> str:
    return duration(value.ToTimedelta())
