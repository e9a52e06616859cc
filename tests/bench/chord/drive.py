"""Open responses on a running instance and time them; prints milliseconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from agents.models import Response

Begin = Callable[[], "Response"]


def main(single: int, crowds: list[int]) -> None:
    from tests.bench.chord import worker

    ways: dict[str, Begin] = {
        "ours": ours,
        "chord": led_by(worker.start),
        "chord_by_phase": led_by(worker.start_by_phase),
    }
    for begin in ways.values():
        wait([begin()])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(single):
        for name, begin in ways.items():
            times[name].append(per_phase_ms(begin()))
    json.dump({**times, "together": {str(size): at_once(size) for size in crowds}}, sys.stdout)


def ours() -> Response:
    from agents import swarm
    from incidentops.incidents.models import Incident
    from tests.factories import make_incident

    # An exercise: nothing is delivered, so no mail is measured.
    response = swarm.begin(make_incident(origin=Incident.Origin.GAMEDAY).number)
    assert response is not None
    return response


def led_by(start: Callable[[int], None]) -> Begin:
    """A response that `start` leads, since nobody is woken for it."""

    def begin() -> Response:
        from agents import swarm
        from tests.bench.chord import worker

        with worker.waking_nobody(swarm):
            response = ours()
        start(response.pk)
        return response

    return begin


def per_phase_ms(response: Response) -> float:
    from agents.models import PhaseRun, PhaseState

    wait([response])
    response.refresh_from_db()
    assert response.finished_at is not None
    done = PhaseRun.objects.filter(response=response, state=PhaseState.DONE).count()
    return (response.finished_at - response.started_at).total_seconds() * 1000 / done


def at_once(size: int) -> dict[str, float]:
    began = time.monotonic()
    responses = [ours() for _ in range(size)]
    wait(responses)
    return {"finished": finished(responses), "seconds": round(time.monotonic() - began, 2)}


def wait(responses: list[Response]) -> None:
    give_up_at = time.monotonic() + 300
    while finished(responses) < len(responses):
        if time.monotonic() > give_up_at:
            raise TimeoutError("The responses did not end.")
        time.sleep(0.01)


def finished(responses: list[Response]) -> int:
    from agents.models import Response

    ids = [response.pk for response in responses]
    return Response.objects.filter(pk__in=ids, finished_at__isnull=False).count()


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])
