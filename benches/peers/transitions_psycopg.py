"""Python `transitions` decides and psycopg writes, in the caller's thread: one transaction an event."""

import threading

from psycopg_pool import ConnectionPool
from transitions import Machine

from work import FIND, LIMITS, MOVE, TELL, TRANSITIONS, Run, decide


class Board:
    """A model of the machine; its state is the row's."""


def call(run, pool, machine, caller):
    board = Board()
    machine.add_model(board)
    for name, event in run.events(caller):
        with pool.connection() as connection:
            row = connection.execute(FIND, [name]).fetchone()
            machine.set_state(row[1], board)
            board.trigger(event)
            move, tell = decide(row, event, board.state)
            # One round trip for both statements and the commit.
            with connection.pipeline():
                connection.execute(MOVE, move)
                connection.execute(TELL, tell)
                connection.commit()
        run.answered += 1


def main():
    run = Run("transitions")
    transitions = [list(transition) for transition in TRANSITIONS]
    machine = Machine(model=None, states=list(LIMITS), transitions=transitions, initial="Ready", auto_transitions=False)
    with ConnectionPool(min_size=run.count, max_size=run.count) as pool:
        pool.wait()
        run.wait_for_start()
        threads = [threading.Thread(target=call, args=(run, pool, machine, caller)) for caller in run.callers()]
        for thread in threads:
            thread.start()
        run.measure()
        for thread in threads:
            thread.join()


main()
