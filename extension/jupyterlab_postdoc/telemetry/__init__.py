"""Traces and figures of what agents do. See docs/telemetry.md for what is sent, and what never is."""

from __future__ import annotations

from .metrics import count_error, count_run, count_tool, count_turn, count_usage
from .spans import AgentWatch, Telemetry, ToolWatch

__all__ = [
    "AgentWatch",
    "Telemetry",
    "ToolWatch",
    "count_error",
    "count_run",
    "count_tool",
    "count_turn",
    "count_usage",
]
