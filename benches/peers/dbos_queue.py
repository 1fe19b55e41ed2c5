"""DBOS: the event is enqueued as a workflow, whose one step does the transition in a transaction of its own."""

import os
import threading

from dbos import DBOS, DBOSConfig
from psycopg_pool import ConnectionPool

from work import FIND, MOVE, TARGETS, TELL, Run, decide

URL = "postgresql+psycopg://{PGUSER}@/{PGDATABASE}?host={PGHOST}".format_map(os.environ)
# DBOS's own default for its pool; a larger one was no faster.
POOL = 20
# A DBOS queue is polled; at its default of one second 64 in flight could not be more than 64 a second.
POLL_S = 0.02


def main():
    run = Run("dbos")
    queue = f"boards-{run.first}"
    answers = {}
    DBOS(
        config=DBOSConfig(
            name="peers",
            system_database_url=URL,
            sys_db_pool_size=POOL,
            executor_id=str(run.first),
            application_version="1",
            log_level="ERROR",
            max_executor_threads=run.count * 2 + 8,
        )
    )
    # A step of our own: DBOS's SQLAlchemy datasource, which records the step with the transition, was a third slower.
    pool = ConnectionPool(min_size=POOL, max_size=POOL, open=True)

    @DBOS.step()
    def transition(name, event):
        with pool.connection() as connection:
            row = connection.execute(FIND, [name]).fetchone()
            move, tell = decide(row, event, TARGETS[event, row[1]])
            with connection.pipeline():
                connection.execute(MOVE, move)
                connection.execute(TELL, tell)
                connection.commit()

    @DBOS.workflow()
    def handle(name, event):
        transition(name, event)
        answers.pop(name).set()

    def call(caller):
        for name, event in run.events(caller):
            answer = answers[name] = threading.Event()
            DBOS.enqueue_workflow(queue, handle, name, event)
            answer.wait()
            run.answered += 1

    DBOS.listen_queues([queue])
    DBOS.launch()
    DBOS.register_queue(queue, polling_interval_sec=POLL_S)
    run.wait_for_start()
    callers = [threading.Thread(target=call, args=(caller,)) for caller in run.callers()]
    for caller in callers:
        caller.start()
    run.measure()
    for caller in callers:
        caller.join()
    DBOS.destroy(workflow_completion_timeout_sec=10)
    pool.close()


main()
