"""Open responses on a running instance and time them; prints milliseconds as JSON."""

from __future__ import annotations

import json
import sys
import time

import django


def main(single: int, crowds: list[int]) -> None:
    from agents import swarm
    from agents.models import PhaseRun, PhaseState, Response
    from incidentops.incidents.models import Incident
    from tests.bench.chord import worker
    from tests.factories import make_incident

    def finished(responses: list[Response]) -> int:
        ids = [response.pk for response in responses]
        return Response.objects.filter(pk__in=ids, finished_at__isnull=False).count()

    def wait(responses: list[Response]) -> None:
        give_up_at = time.monotonic() + 300
        while finished(responses) < len(responses):
            if time.monotonic() > give_up_at:
                raise TimeoutError("The responses did not end.")
            time.sleep(0.01)

    def ours() -> Response:
        response = swarm.begin(_incident().number)
        assert response is not None
        return response

    def chord() -> Response:
        with worker._waking_nobody(swarm):
            response = ours()
        worker.start(response.pk)
        return response

    def _incident() -> Incident:
        # An exercise: nothing is delivered, so no mail is measured.
        return make_incident(origin=Incident.Origin.GAMEDAY)

    def per_phase_ms(response: Response) -> float:
        wait([response])
        response.refresh_from_db()
        assert response.finished_at is not None
        done = PhaseRun.objects.filter(response=response, state=PhaseState.DONE).count()
        return (response.finished_at - response.started_at).total_seconds() * 1000 / done

    for begin in (ours, chord):
        wait([begin()])
    times: dict[str, list[float]] = {"ours": [], "chord": []}
    for _ in range(single):
        times["ours"].append(per_phase_ms(ours()))
        times["chord"].append(per_phase_ms(chord()))
    together = {}
    for size in crowds:
        began = time.monotonic()
        responses = [ours() for _ in range(size)]
        wait(responses)
        together[str(size)] = {
            "finished": finished(responses),
            "seconds": round(time.monotonic() - began, 2),
        }
    json.dump({**times, "together": together}, sys.stdout)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])
