// graphile-worker: the event is added as a job, and the job does the transition in a transaction of its own.
// Called as the Python peers are (see work.py), from the folder that the packages are in.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { Logger, run } from "graphile-worker";
import { Pool } from "pg";

const BOARDS = 1000;
const EVENTS = ["image-running", "rq-reboot", "power-cycle-ok"];
const TARGETS = {
  "image-running": { RebootComplete: "Ready" },
  "rq-reboot": { Ready: "RebootRebooting" },
  "power-cycle-ok": { RebootRebooting: "RebootComplete" },
};
const LIMITS_MS = { RebootComplete: 600_000, Ready: 300_000, RebootRebooting: 30_000 };

const FIND = {
  name: "find",
  text: "SELECT board_id, state, visit, counters FROM board WHERE name = $1 FOR UPDATE",
};
const MOVE = {
  name: "move",
  text: "UPDATE board SET state = $1, visit = $2, entered_at = $3, deadline_at = $4, counters = $5 WHERE board_id = $6",
};
const TELL = {
  name: "tell",
  text: "INSERT INTO history (board_id, at, event, from_state, to_state, visit) VALUES ($1, $2, $3, $4, $5, $6)",
};

const [first, count, inFlight, seconds] = process.argv.slice(2).map(Number);
const task = `transition-${first}`;
const answers = new Map();
let answered = 0;
let stopped = false;

const transition = async ({ name, event }, { withPgClient }) => {
  await withPgClient(async (client) => {
    await client.query("BEGIN");
    const { rows: [board] } = await client.query({ ...FIND, values: [name] });
    const target = TARGETS[event][board.state];
    const at = new Date();
    const deadline = new Date(at.getTime() + LIMITS_MS[target]);
    const visit = Number(board.visit) + 1;
    if (event === "rq-reboot") board.counters.reboots += 1;
    await client.query({ ...MOVE, values: [target, visit, at, deadline, board.counters, board.board_id] });
    await client.query({ ...TELL, values: [board.board_id, at, event, board.state, target, visit] });
    await client.query("COMMIT");
  });
  answers.get(name)();
};

const call = async (runner, caller) => {
  for (;;) {
    for (const event of EVENTS) {
      for (let board = caller; board < BOARDS; board += inFlight) {
        if (stopped) return;
        const name = `board-${board}`;
        const answer = new Promise((resolve) => answers.set(name, resolve));
        await runner.addJob(task, { name, event });
        await answer;
        answered += 1;
      }
    }
  }
};

const fail = (error) => { throw error; };
const pool = new Pool({ max: 20, idleTimeoutMillis: 0 });
pool.on("error", fail);
pool.on("connect", (client) => client.on("error", fail));
const runner = await run({
  pgPool: pool,
  taskList: { [task]: transition },
  noHandleSignals: true,
  logger: new Logger(() => () => {}),
  preset: {
    worker: {
      concurrentJobs: count,
      // What its documentation names for throughput: fetch and complete jobs in batches.
      localQueue: { size: count + 1 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
});

console.log("ready");
const input = createInterface({ input: process.stdin });
await input[Symbol.asyncIterator]().next();
input.close();

const callers = Array.from({ length: count }, (_, n) => call(runner, first + n));
await sleep(1000);
const before = { answered, at: performance.now(), cpu: process.cpuUsage() };
await sleep(seconds * 1000);
const took = (performance.now() - before.at) / 1000;
const events = answered - before.answered;
const cpu = process.cpuUsage(before.cpu);
const { version } = JSON.parse(await readFile("node_modules/graphile-worker/package.json"));
console.log(JSON.stringify({
  version,
  events,
  events_per_s: events / took,
  cores: (cpu.user + cpu.system) / 1e6 / took,
}));
stopped = true;
await Promise.all(callers);
await runner.stop();
await pool.end();
