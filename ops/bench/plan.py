"""How much the benchmark does: whole, or quickly."""

from __future__ import annotations

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of every scene. Times in seconds, rates a second and each way."""

    webhook_rounds: int = 5
    webhook_s: float = 4.0
    webhook_connections: int = 32
    latency_s: float = 10.0

    relay_chats: int = 500
    relay_rate: float = 100.0
    relay_s: float = 60.0

    burst_chats: int = 200
    burst_messages: int = 3_000
    slice_share: float = 0.25

    connects: int = 2_000
    connect_workers: int = 2
    connects_at_once: int = 200
    connect_delay_s: float = 0.05
    connect_rate: float = 100.0

    crowd: tuple[int, ...] = (500, 1_000, 2_000, 5_000)
    hold_s: float = 30.0
    empty_s: float = 10.0
    bare_polls: int = 2_000


FULL = Plan()
QUICK = Plan(
    webhook_rounds=2,
    webhook_s=1.5,
    latency_s=2.0,
    relay_chats=200,
    relay_s=6.0,
    burst_chats=100,
    burst_messages=1_000,
    connects=1_000,
    crowd=(200, 600),
    hold_s=5.0,
    empty_s=3.0,
    bare_polls=300,
)
