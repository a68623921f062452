// The programs of docs/licenses.md, taken from the page and run against a license of today. (The one in Rust is run by crates/license.)

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { calculateJwkThumbprint } from 'jose';
import { ROOT, cleanEnvironment } from './lib/processes.mjs';

const PAGE = readFileSync(join(ROOT, 'docs/licenses.md'), 'utf8');
const PYTHON = process.env.COUNTERFOIL_TEST_PYTHON ?? join(ROOT, 'target/venv/bin/python');
const ISSUER = 'https://billing.example.com';
const DAY = 24 * 60 * 60;
const now = Math.floor(Date.now() / 1000);
const places = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'java'));
const java = places.find((path) => existsSync(path));

let folder;
let keys;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'integrations-'));
  keys = { own: await keyOf(7), root: await keyOf(9) };
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function keyOf(seed) {
  // PKCS#8 of an Ed25519 key is this prefix and the seed.
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const { kty, crv, x } = privateKey.export({ format: 'jwk' });
  return { privateKey, jwk: { kty, crv, x }, kid: await calculateJwkThumbprint({ kty, crv, x }) };
}

function signed({ privateKey, kid }, typ, payload) {
  const [head, body] = [{ alg: 'EdDSA', typ, kid }, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  return `${head}.${body}.${sign(null, Buffer.from(`${head}.${body}`), privateKey).toString('base64url')}`;
}

function license(exp = now + 2 * DAY) {
  return signed(keys.own, 'license+jwt', {
    iss: ISSUER, sub: 'cust_1', customer_id: 'cust_1', aud: 'acme-editor', iat: now - 3 * DAY, nbf: now - 3 * DAY, exp, jti: 'lic_1', ver: 1,
    plan: 'professional', status: 'active', trial: false, features: ['export'], limits: { seats: 5 }, paid_until: exp, grace_until: exp,
    refresh_after: exp,
  });
}

function bundle(token) {
  const set = { iss: ISSUER, iat: now, exp: now + DAY, serial: 1, keys: [{ ...keys.own.jwk, state: 'active' }] };
  const block = (name, text) => `-----BEGIN COUNTERFOIL ${name}-----\n${text}\n-----END COUNTERFOIL ${name}-----\n`;
  const path = join(folder, 'license.lic');
  writeFileSync(path, block('LICENSE', token) + block('KEY SET', signed(keys.root, 'keyset+jwt', set)));
  return path;
}

/** The only block of this language on the page, as a file. */
function program(language, name) {
  const blocks = [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text);
  const text = blocks.find((block) => block.includes('YOUR-ROOT') || block.includes('class Check'));
  assert.ok(text, `docs/licenses.md has no program in ${language}`);
  const package_ = pathToFileURL(join(ROOT, 'sdks/js/src/index.js')).href;
  const path = join(folder, name);
  writeFileSync(path, text.replace('@counterfoil/license', package_).replace('cfroot1:YOUR-ROOT', `cfroot1:${keys.root.jwk.x}`));
  return path;
}

function run(command, args) {
  const env = { ...cleanEnvironment(), PYTHONPATH: join(ROOT, 'sdks/python/src'), PYTHONDONTWRITEBYTECODE: '1' };
  return new Promise((done, fail) => {
    execFile(command, args, { env, timeout: 60_000 }, (error, stdout, stderr) => (error ? fail(new Error(stdout + stderr)) : done(stdout.trim())));
  });
}

describe('the programs of docs/licenses.md', () => {
  for (const [language, name, command] of [['js', 'check.mjs', process.execPath], ['py', 'check.py', PYTHON]]) {
    test(`in ${language}`, async () => {
      assert.ok(existsSync(command), `${command} is missing: run scripts/test, which installs it`);
      const path = program(language, name);
      assert.equal(await run(command, [path, bundle(license()), 'export']), 'valid allowed');
      assert.equal(await run(command, [path, bundle(license()), 'unheard-of']), 'valid not allowed');
      assert.equal(await run(command, [path, bundle(license(now - 1)), 'export']), 'expired not allowed');
    });
  }

  test('in Java, where there is one', async (t) => {
    if (!java) return t.diagnostic('there is no java here: the program in Java was not run');
    const path = program('java', 'Check.java');
    const told = (token, { audience = 'acme-editor' } = {}) => run(java, [path, token, keys.own.jwk.x, keys.own.kid, ISSUER, audience]);
    assert.equal(await told(license()), 'runs');
    assert.equal(await told(license(now - 1)), 'refused');
    assert.equal(await told(license(), { audience: 'another' }), 'refused');
    assert.equal(await told(signed({ ...keys.root, kid: keys.own.kid }, 'license+jwt', { exp: now + DAY })), 'refused');
  });
});
