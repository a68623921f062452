// Runs the commands of README.md as a reader would, on the ports that it names, and compares the answers with the printed ones.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT, Process, cleanEnvironment, eventually, portIsFree, scratchDirectory } from './lib/processes.mjs';
import { blocksOf, difference, withRealNames } from './lib/readme.mjs';

const PORTS = [3100, 3101];
const COMMAND_MS_MAX = 60_000;
// What a payment sets in motion is there within a second; a busy machine gets ten.
const SETTLE_MS_MAX = 10_000;

const blocks = blocksOf(readFileSync(join(ROOT, 'README.md'), 'utf8'));
const tested = blocks.filter(({ name }) => name !== null && name !== 'start' && !name.startsWith('none because '));
const endings = [];
const names = new Map();
let variables = '';
let home;

before(async () => {
  for (const port of PORTS) {
    assert.ok(await portIsFree(port), `port ${port} is taken: stop what listens there, for the README names this port`);
  }
  const t = { after: (end) => endings.push(end) };
  home = scratchDirectory(t);
  // As `cargo run` does it, without a second build: no argument, no setting, an empty data directory.
  const server = new Process('the server', [], {}, home);
  t.after(() => server.stop());
  await server.ready(async () => (await fetch('http://127.0.0.1:3100/readyz')).status === 200);
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

/** Runs one command in bash. Variables that it sets are kept for the next one. */
function run(command) {
  const script = `cd "$ROOT"\n${variables}\n${command}\nstatus=$?\ndeclare -p $(compgen -v | grep -vxF "$KNOWN") > "$HOME/variables" 2>/dev/null\nexit $status`;
  const env = cleanEnvironment({ HOME: home, ROOT, COUNTERFOIL_DATA_DIR: join(home, 'data'), PATH: `${join(ROOT, 'target/debug')}:${process.env.PATH}` });
  return new Promise((done) => {
    const first = 'KNOWN="$(compgen -v)\nKNOWN\nstatus\nvariables"\n';
    execFile('bash', ['-c', first + script], { env, timeout: COMMAND_MS_MAX, maxBuffer: 4 << 20 }, (error, stdout, stderr) => {
      try {
        const kept = readFileSync(join(home, 'variables'), 'utf8');
        variables = kept.split('\n').filter((line) => line.startsWith('declare -- ')).join('\n');
      } catch { /* the command set none */ }
      done({ failed: error !== null, stdout, stderr });
    });
  });
}

const onlyReads = (command) => !/\s(?:-d|--data\S*|-X|--request|-F|--json)\b/.test(command);

test('every block with commands says whether it is tested', () => {
  assert.ok(blocks.some(({ name }) => name === 'start'), 'no block is marked <!-- test: start -->');
  assert.ok(tested.length > 0, 'no block is marked <!-- test: NAME -->');
  const unmarked = blocks.filter(({ name, text }) => name === null && /\bcurl\b|\bcounterfoil\b|\bcargo run\b/.test(text.join('\n')));
  assert.deepEqual(unmarked.map(({ line }) => `README.md:${line}`), [], 'these blocks have no <!-- test: … --> comment');
});

test('the server starts with one command', () => {
  const start = blocks.find(({ name }) => name === 'start');
  assert.match(start.text.join('\n'), /\bcargo run\b/);
});

for (const { name, line, commands } of tested) {
  test(`README.md:${line} ${name}`, async () => {
    for (const { command, output } of commands) {
      const real = withRealNames(command, names);
      const attempt = async () => {
        const { failed, stdout, stderr } = await run(real);
        if (failed) return `it failed: ${stderr}${stdout}`;
        return output === null || output.length === 0 ? null : difference(output.join('\n'), stdout, names);
      };
      let wrong = await attempt();
      if (wrong && onlyReads(real)) {
        await eventually('the printed answer', async () => (wrong = await attempt()) === null, { ms: SETTLE_MS_MAX, every: 250 })
          .catch(() => {});
      }
      if (wrong) assert.fail(`${real}\n${wrong}`);
    }
  });
}
