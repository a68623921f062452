// What an operator meets at the start and the end of the process: refusals that say what to do, probes, a clean stop.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { Process, eventually, freePort, scratchDirectory } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';

const WEBHOOK_SECRET = `whsec_${'4b'.repeat(24)}`;

async function refusedStart(t, env, ...words) {
  const directory = scratchDirectory(t);
  const child = new Process('the server', ['serve'], {
    COUNTERFOIL_LISTEN: `127.0.0.1:${await freePort()}`,
    COUNTERFOIL_SANDBOX_LISTEN: `127.0.0.1:${await freePort()}`,
    COUNTERFOIL_DATA_DIR: directory,
    ...env,
  }, directory);
  t.after(() => child.kill());
  const exit = await eventually('the process ends by itself', () => child.exit, { ms: 30_000 });
  assert.ok(exit.code !== 0 && exit.code !== null, `it ended with ${JSON.stringify(exit)}:\n${child.log}`);
  for (const word of words) assert.ok(child.log.includes(word), `'${word}' is not in:\n${child.log}`);
  assert.ok(!child.log.includes('panicked'), child.log);
  return child.log;
}

describe('a start is refused', () => {
  test('without a webhook secret', async (t) => {
    await refusedStart(t, { STRIPE_SECRET_KEY: 'sk_test_sandbox' }, 'STRIPE_WEBHOOK_SECRET');
  });

  test('with a live key on a public URL without https', async (t) => {
    const key = `sk_live_${'a1'.repeat(12)}`;
    const log = await refusedStart(t, {
      STRIPE_SECRET_KEY: key, STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET, COUNTERFOIL_PUBLIC_URL: 'http://shop.example.com',
    }, 'https');
    assert.ok(!log.includes(key), 'the key stands in the log');
  });

  test('when the port is in use', async (t) => {
    const holder = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => holder.once('listening', done));
    t.after(() => holder.close());
    const { port } = holder.address();
    await refusedStart(t, { COUNTERFOIL_LISTEN: `127.0.0.1:${port}` }, String(port));
  });

  test('when the database is unreachable, without telling its password', async (t) => {
    const port = await freePort();
    const log = await refusedStart(t, { DATABASE_URL: `postgres://billing:hushhush@127.0.0.1:${port}/billing` }, 'database');
    assert.ok(!log.includes('hushhush'), log);
  });

  test('with an unknown setting', async (t) => {
    await refusedStart(t, { COUNTERFOIL_LISTEM: '127.0.0.1:1' }, 'COUNTERFOIL_LISTEM', 'COUNTERFOIL_LISTEN');
  });
});

describe('a running server', () => {
  test('answers its probes and its metrics, and stops cleanly on SIGTERM', async (t) => {
    const server = await startSandboxServer(t);
    for (const path of ['/livez', '/readyz']) assert.equal((await server.api.get(path)).status, 200);
    const metrics = await server.api.get('/metrics', { audience: 'operator' });
    assert.equal(metrics.status, 200);
    assert.match(metrics.text, /^# TYPE \w+/m);
    const api = (await server.api.get('/api/openapi.json')).expect(200);
    assert.match(api.openapi, /^3\./);
    assert.ok(api.paths['/api/subscriptions/checkout'].post);
    assert.equal((await server.api.get('/no/such/page')).status, 404);
    assert.deepEqual(await server.process.stop(), { code: 0, signal: null });
  });

  test('forbids core dumps for itself', async (t) => {
    const server = await startSandboxServer(t, { RUST_LOG: 'info,counterfoil::cli=debug' });
    assert.ok(server.process.log.includes('no core dump is written of this process'), server.process.log);
  });

  test('the API page loads nothing from elsewhere', async (t) => {
    const server = await startSandboxServer(t);
    let answer = await server.api.get('/api/docs');
    if (answer.status >= 300 && answer.status < 400) {
      answer = await server.api.get(new URL(answer.headers.get('location'), `${server.base}/api/docs`).pathname);
    }
    assert.equal(answer.status, 200);
    for (const [, url] of answer.text.matchAll(/(?:src|href)="([^"]+)"/g)) {
      assert.equal(new URL(url, server.base).origin, server.base, url);
    }
  });
});
