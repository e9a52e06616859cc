"""Metrics for Prometheus, read from the database and Redis when they are scraped.

Every process therefore tells the same, and labels are bounded: they are states, severities and
names of probes, never incidents, services or sources.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from incidentops.health.examination import readings
from incidentops.health.registry import vitals


class _Health(Collector):
    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("iop_probe_up", "1 when the probe passed.", labels=["probe"])
        for name, (_, reading) in readings().items():
            up.add_metric([name], float(reading.ok))
        yield up
        for vital in vitals():
            yield from _families(f"iop_{vital.name}", vital.read())


def _families(name: str, value: object) -> Iterator[Metric]:
    """Numbers of nested JSON as gauges: keys of the last level become the label `key`."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield GaugeMetricFamily(name, f"System health: {name}.", value=float(value))
        return
    if not isinstance(value, dict):
        return
    numbers = {
        k: v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
    if numbers:
        family = GaugeMetricFamily(name, f"System health: {name}.", labels=["key"])
        for key, number in numbers.items():
            family.add_metric([key], float(number))
        yield family
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _families(f"{name}_{key}", inner)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(_Health())
