"""procrastinate: the event is deferred as a job, and the job does the transition in a transaction of its own."""

import asyncio
import logging

from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from work import FIND, MOVE, TARGETS, TELL, Run, decide

# A worker fetches its jobs one after the other, each by a commit of its own, so several workers share the queue.
WORKERS = 8
POOL = 10
# A notification that arrives during a fetch is lost (3.10.0), and the job then waits for the next poll: by default 5 s.
POLL_S = 0.02


async def main():
    run = Run("procrastinate")
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    queue = f"boards-{run.first}"
    answers = {}
    app = App(connector=PsycopgConnector(min_size=POOL, max_size=POOL))
    pool = AsyncConnectionPool(min_size=POOL, max_size=POOL, open=False)

    @app.task(queue=queue, name="transition")
    async def transition(name, event):
        async with pool.connection() as connection:
            row = await (await connection.execute(FIND, [name])).fetchone()
            move, tell = decide(row, event, TARGETS[event, row[1]])
            async with connection.pipeline():
                await connection.execute(MOVE, move)
                await connection.execute(TELL, tell)
                await connection.commit()
        answers.pop(name).set_result(None)

    async def call(caller):
        for name, event in run.events(caller):
            answer = answers[name] = asyncio.get_running_loop().create_future()
            await transition.defer_async(name=name, event=event)
            await answer
            run.answered += 1

    async with app.open_async(), pool:
        if run.first == 0:
            await app.schema_manager.apply_schema_async()
        workers = [
            asyncio.create_task(
                app.run_worker_async(
                    queues=[queue],
                    concurrency=run.count,
                    fetch_job_polling_interval=POLL_S,
                    delete_jobs="successful",
                    install_signal_handlers=False,
                )
            )
            for _ in range(min(WORKERS, run.count))
        ]
        await asyncio.to_thread(run.wait_for_start)
        callers = [asyncio.create_task(call(caller)) for caller in run.callers()]
        await asyncio.to_thread(run.measure)
        await asyncio.gather(*callers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


asyncio.run(main())
