"""The work that every Python peer does: the state machine, the statements, and the callers' order of events.

A peer is called as `PEER FIRST COUNT IN_FLIGHT SECONDS`: it plays the callers FIRST … FIRST+COUNT-1 of IN_FLIGHT.
It says `ready`, waits for a line, works, and prints one JSON object. Where Postgres is stands in the environment.
"""

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

BOARDS = 1000

# event, from, to
TRANSITIONS = [
    ("image-running", "RebootComplete", "Ready"),
    ("rq-reboot", "Ready", "RebootRebooting"),
    ("power-cycle-ok", "RebootRebooting", "RebootComplete"),
]
TARGETS = {(event, source): target for event, source, target in TRANSITIONS}
LIMITS = {
    "RebootComplete": timedelta(seconds=600),
    "Ready": timedelta(seconds=300),
    "RebootRebooting": timedelta(seconds=30),
}

FIND = "SELECT board_id, state, visit, counters FROM board WHERE name = %s FOR UPDATE"
MOVE = (
    "UPDATE board SET state = %s, visit = %s, entered_at = %s, deadline_at = %s, counters = %s WHERE board_id = %s"
)
TELL = (
    "INSERT INTO history (board_id, at, event, from_state, to_state, visit) VALUES (%s, %s, %s, %s, %s, %s)"
)


def decide(row, event, target):
    """What is written for a board's row when an event takes it to `target`: the parameters of MOVE and TELL."""
    board_id, state, visit, counters = row
    at = datetime.now(timezone.utc)
    if event == "rq-reboot":
        counters["reboots"] += 1
    move = (target, visit + 1, at, at + LIMITS[target], json.dumps(counters), board_id)
    return move, (board_id, at, event, state, target, visit + 1)


class Run:
    """One measured run of this process's callers."""

    def __init__(self, package):
        self.version = version(package)
        self.first, self.count, self.in_flight = map(int, sys.argv[1:4])
        self.seconds = float(sys.argv[4])
        self.answered = 0
        self.stopped = False

    def callers(self):
        return range(self.first, self.first + self.count)

    def events(self, caller):
        """The events of a caller, who keeps to boards of its own, until the run is over."""
        while True:
            for event, _, _ in TRANSITIONS:
                for board in range(caller, BOARDS, self.in_flight):
                    if self.stopped:
                        return
                    yield f"board-{board}", event

    def wait_for_start(self):
        print("ready", flush=True)
        sys.stdin.readline()

    def measure(self):
        """Lets the callers warm up, counts what is answered in the time given, and ends them."""
        time.sleep(1)
        answered, began, cpu = self.answered, time.monotonic(), time.process_time()
        time.sleep(self.seconds)
        answered, took = self.answered - answered, time.monotonic() - began
        cpu = time.process_time() - cpu
        self.stopped = True
        figure = {"events": answered, "events_per_s": answered / took, "cores": cpu / took}
        print(json.dumps({"version": self.version, **figure}), flush=True)
