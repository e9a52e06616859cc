"""A process that asks until it is told to stop or killed: `python -m tests.awsai.aws.asking COUNT`."""

from __future__ import annotations

import sys
from contextlib import suppress

import django


def main(count: int) -> None:
    django.setup()
    from awsai import gateway
    from awsai.ports import CallFailed, Passage, Question

    asker = gateway.Asker(incident=1, severity="low", agent="diagnosis", run_ref="run:1")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(count):
        text = f"at {number} the pool of orders was full " * (1 + number % 7)
        question = Question(
            task="bench",
            instruction="Sum up.",
            passages=(Passage(id="c1", text=text),),
            max_tokens=200,
        )
        with suppress(CallFailed):
            if number % 3 == 2:
                gateway.sentiments([text, "The pool has recovered."], asker=asker)
            else:
                on_piece = (lambda piece: None) if number % 3 else None
                gateway.ask(question, asker=asker, on_piece=on_piece)


if __name__ == "__main__":
    main(int(sys.argv[1]))
