// A license of the running server, verified by other people's libraries with nothing but the address of the published keys.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ROOT, cleanEnvironment } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';

const PYTHON = process.env.COUNTERFOIL_TEST_PYTHON ?? join(ROOT, 'target/venv/bin/python');
const PROGRAMS = {
  jose: [process.execPath, join(ROOT, 'tests/foreign/verify_jose.mjs')],
  PyJWT: [PYTHON, join(ROOT, 'tests/foreign/verify_pyjwt.py')],
};

let server;
let license;
let audience;
const endings = [];

before(async () => {
  server = await startSandboxServer({ after: (end) => endings.push(end) });
  const signup = (await server.api.post('/api/customers/signup', { email: 'vendor@example.com', password: 'SecurePass123' })).expect(201);
  license = { ...signup.license, customerId: signup.customer.customer_id };
  audience = claimsOf(license.token).aud;
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
}

function verify(program, { token = license.token, issuer = server.base, expectedAudience = audience } = {}) {
  const [command, script] = PROGRAMS[program];
  assert.ok(existsSync(command), `${command} is missing: run scripts/test, which installs it`);
  const args = [script, `${server.base}/.well-known/jwks.json`, token, issuer, expectedAudience];
  return new Promise((done) => {
    execFile(command, args, { env: cleanEnvironment(), timeout: 30_000 }, (error, stdout, stderr) => done({ error, stdout, stderr }));
  });
}

async function refused(program, changes) {
  const { error, stdout, stderr } = await verify(program, changes);
  assert.equal(error?.code, 1, `it was accepted: ${stdout}`);
  assert.match(stderr, /^refused: /m, stderr);
}

for (const program of Object.keys(PROGRAMS)) {
  describe(program, () => {
    test('accepts the license and reads its claims', async () => {
      const { error, stdout, stderr } = await verify(program);
      assert.equal(error, null, stderr);
      const claims = JSON.parse(stdout);
      assert.equal(claims.customer_id, license.customerId);
      assert.equal(claims.jti, license.license_id);
      assert.equal(claims.plan, 'trial');
    });

    test('refuses other claims under the same signature', async () => {
      const [head, , signature] = license.token.split('.');
      const better = Buffer.from(JSON.stringify({ ...claimsOf(license.token), plan: 'enterprise' })).toString('base64url');
      await refused(program, { token: `${head}.${better}.${signature}` });
    });

    test('refuses another issuer and another audience', async () => {
      await refused(program, { issuer: 'https://elsewhere.example.com' });
      await refused(program, { expectedAudience: 'another-product' });
    });

    test('refuses a token without a signature', async () => {
      const head = Buffer.from(JSON.stringify({ alg: 'none', typ: 'license+jwt' })).toString('base64url');
      await refused(program, { token: `${head}.${license.token.split('.')[1]}.` });
    });
  });
}
