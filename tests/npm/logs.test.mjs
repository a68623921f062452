// Looking through logs can say no: each shape finds its samples, and a test file whose service leaks fails although its tests pass.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HARMLESS, SHAPES, guard, guardPasswords, leaksInLog } from './lib/logs.mjs';
import { eventually } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';

test('each shape finds its samples, and none finds what is harmless', () => {
  assert.ok(SHAPES.length >= 11);
  for (const { what, pattern, samples } of SHAPES) {
    assert.ok(samples.length > 0, what);
    for (const sample of samples) {
      assert.match(sample, pattern, what);
      assert.equal(leaksInLog(`before\n${sample}\nafter`).length, 1, sample);
    }
  }
  for (const line of HARMLESS) assert.deepEqual(leaksInLog(line), []);
});

test('what a test guards is found', () => {
  assert.deepEqual(leaksInLog('the answer is 42-of-course'), []);
  guard('42-of-course');
  guardPasswords({ email: 'unguarded', current_password: 'a word of this test' });
  assert.equal(leaksInLog('the answer is 42-of-course').length, 1);
  assert.equal(leaksInLog('typed: a word of this test').length, 1);
  assert.deepEqual(leaksInLog('unguarded'), []);
});

test('a file whose service has leaked fails, although its tests pass', () => {
  const file = (line) => `
    import { test } from 'node:test';
    import { keepLog } from ${JSON.stringify(new URL('./lib/logs.mjs', import.meta.url).href)};
    keepLog({ name: 'a service', log: ${JSON.stringify(line)} });
    test('all is well', () => {});
  `;
  const run = (line) => spawnSync(process.execPath, ['--input-type=module', '--eval', file(line)], {
    encoding: 'utf8', timeout: 30_000, cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  const clean = run('answered 200');
  assert.equal(clean.status, 0, clean.stderr);
  const leaking = run('answered with cfs_Zm9vYmFyYmF6cXV4');
  assert.equal(leaking.status, 1, leaking.stdout);
  assert.match(leaking.stderr, /a service: the token of a session/);
});

test('a real server logs its requests and none of what they hold', { timeout: 60_000 }, async (t) => {
  const server = await startSandboxServer(t);
  const password = 'canary-of-this-test-81';
  const { token } = (await server.api.post('/api/customers/signup', { email: 'ada@example.com', password })).expect(201);
  (await server.api.as(token).get('/api/licenses/current?email=ada@example.com')).expect(200);
  (await server.api.post('/api/customers/login', { email: 'ada@example.com', password: 'wrong canary 1' })).refused(401);
  (await server.api.as(`${token}x`).get('/api/customers/me')).refused(401);
  await eventually('the requests are in the log', () => server.process.log.includes('/api/customers/me'));
  for (const route of ['/api/customers/signup', '/api/licenses/current', '/api/customers/login']) {
    assert.ok(server.process.log.includes(route), `${route} is not in the log`);
  }
  assert.deepEqual(leaksInLog(server.process.log), []);
});
