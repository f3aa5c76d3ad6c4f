"""The Grafana dashboard, loaded into the models that Grafana's makers publish for their dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import prometheus, stat
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from pydantic import ConfigDict, TypeAdapter, ValidationError

FILE = Path(__file__).parents[2] / "examples/grafana/redirectd.json"

OF_THE_DATA_SOURCE = {"annotations.list[0].titleFormat"}
"""Of Prometheus' annotations, and so of no model of the dashboard's own."""

register_default_plugins()


@pytest.fixture
def shipped() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(FILE.read_text())
    return loaded


def unknown(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where `found`, which went through the models, has not what stands in the file."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            yield from unknown(value, found.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from unknown(one, other, f"{path}[{index}]")
    elif wanted != found:
        yield path


def wrong(value: Any, path: str = "") -> Iterator[str]:
    """Where a value is not of the type that its model declares."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from wrong(one, f"{path}[{index}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk") and not isinstance(value, Enum):
        hints = get_type_hints(type(value))
        for name, held in vars(value).items():
            here = f"{path}.{name}".lstrip(".")
            try:
                TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(held)
            except ValidationError:
                yield here
            yield from wrong(held, here)


def load(dashboard: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What Grafana's models don't know of a dashboard, and what is of a wrong type for them."""
    loaded = Dashboard.from_json(dashboard)
    back = json.loads(JSONEncoder().encode(loaded))
    return sorted({*unknown(dashboard, back)} - OF_THE_DATA_SOURCE), list(wrong(loaded))


def test_the_dashboard_is_what_grafana_knows(shipped: dict[str, Any]) -> None:
    """Every key is known to Grafana, every value is of its type: panels, their options, and Prometheus' queries."""
    assert load(shipped) == ([], [])
    panels = [panel for panel in Dashboard.from_json(shipped).panels or [] if isinstance(panel, Panel)]
    assert len(panels) == len(shipped["panels"])
    assert all(isinstance(target, prometheus.Dataquery) for panel in panels for target in panel.targets or [])
    assert {type(panel.options) for panel in panels if panel.type_val == "stat"} == {stat.Options}


@pytest.mark.parametrize(
    "change",
    [{"gridPos": {"h": "four", "w": 4, "x": 0, "y": 0}}, {"colour": "red"}, {"options": {"colorMode": "glitter"}}],
)
def test_a_mistake_in_a_dashboard_would_be_noticed(shipped: dict[str, Any], change: dict[str, Any]) -> None:
    """A word for a number, a key that Grafana does not have, a mode that is none: the check above sees them."""
    shipped["panels"][0] |= change
    assert load(shipped) != ([], [])
