// The command line, as an operator types it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ENGINES, freshDatabase } from './lib/database.mjs';
import { Process, eventually, freePort, scratchDirectory } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';
import { leaksIn } from './lib/tap.mjs';

const COMMANDS = ['serve', 'demo', 'migrate', 'sandbox', 'license', 'customer', 'admin', 'version'];
const COMMAND_MS_MAX = 90_000;

/** Runs one command to its end. */
async function command(t, args, env = {}) {
  const child = new Process(`counterfoil ${args.join(' ')}`, args, { COUNTERFOIL_DATA_DIR: scratchDirectory(t), ...env }, scratchDirectory(t));
  t.after(() => child.kill());
  await eventually(`${child.name} ends`, () => child.exit, { ms: COMMAND_MS_MAX }).catch((error) => {
    throw new Error(`${error.message}\n${child.log}`);
  });
  await child.closed;
  assert.ok(!child.log.includes('panicked'), child.log);
  return { code: child.exit.code, out: child.log };
}

async function succeeds(t, args, env) {
  const { code, out } = await command(t, args, env);
  assert.equal(code, 0, out);
  return out;
}

async function refused(t, args, pattern, env) {
  const { code, out } = await command(t, args, env);
  assert.ok(code > 0, `it went through:\n${out}`);
  assert.match(out, pattern);
}

describe('help', () => {
  test('names every command', async (t) => {
    const out = await succeeds(t, ['--help']);
    for (const name of COMMANDS) assert.match(out, new RegExp(`^\\s+${name}\\b`, 'm'));
  });

  test('every command explains itself', async (t) => {
    for (const name of COMMANDS) assert.match(await succeeds(t, [name, '--help']), /Usage:/);
  });

  test('an unknown command is refused with what there is', async (t) => {
    await refused(t, ['serv'], /serve/);
  });
});

test('version, for people and for programs', async (t) => {
  assert.match(await succeeds(t, ['version']), /\d+\.\d+\.\d+/);
  assert.match(JSON.parse(await succeeds(t, ['version', '--json'])).version, /^\d+\.\d+\.\d+/);
});

for (const engine of ENGINES) {
  describe(`on ${engine}`, () => {
    test('migrate may be repeated', async (t) => {
      const directory = scratchDirectory(t);
      const database = freshDatabase(t, engine, directory);
      for (let i = 0; i < 2; i += 1) await succeeds(t, ['migrate'], { COUNTERFOIL_DATA_DIR: directory, ...database.env });
      assert.deepEqual(database.rows('select count(*) from customers'), [['0']]);
    });

    test('the demo goes from sign-up to a paid license by itself', async (t) => {
      const args = ['demo'];
      if (engine === 'postgres') args.push('--postgres', freshDatabase(t, engine, '').env.DATABASE_URL);
      const out = await succeeds(t, args, {
        COUNTERFOIL_LISTEN: `127.0.0.1:${await freePort()}`, COUNTERFOIL_SANDBOX_LISTEN: `127.0.0.1:${await freePort()}`,
      });
      assert.match(out, /cust_[0-9a-f]{32}/);
      assert.match(out, /professional/);
      assert.match(out, /active/);
    });
  });
}

describe('a customer and a license', () => {
  let server;
  let signup;
  let env;

  const endings = [];
  before(async () => {
    server = await startSandboxServer({ after: (end) => endings.push(end) });
    signup = (await server.api.post('/api/customers/signup', { email: 'ada@example.com', password: 'SecurePass123' })).expect(201);
    env = { COUNTERFOIL_DATA_DIR: server.directory, COUNTERFOIL_PUBLIC_URL: server.base };
  });

  after(async () => {
    for (const end of endings.reverse()) await end();
  });

  test('customer show finds by id and by e-mail', async (t) => {
    for (const key of [signup.customer.customer_id, 'ada@example.com']) {
      const shown = await succeeds(t, ['customer', 'show', key, '--json'], env);
      assert.ok(JSON.stringify(JSON.parse(shown)).includes(signup.customer.customer_id));
      assert.doesNotMatch(shown, /\$argon2/);
    }
    await refused(t, ['customer', 'show', 'nobody@example.com'], /no such customer/, env);
  });

  test('license inspect reads, license verify judges', async (t) => {
    const inspected = await succeeds(t, ['license', 'inspect', signup.license.token, '--json'], env);
    assert.ok(inspected.includes(signup.license.license_id));
    assert.deepEqual(leaksIn(inspected), []);
    assert.match(await succeeds(t, ['license', 'verify', signup.license.token], env), /valid/i);
    await refused(t, ['license', 'verify', `${signup.license.token.slice(0, -4)}AAAA`], /invalid|signature/i, env);
    await refused(t, ['license', 'verify', 'not-a-token'], /\w+ \w+/, env);
  });
});
