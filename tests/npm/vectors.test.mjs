// The public conformance vectors, passed by the packages for JavaScript and Python; crates/license passes the same file.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ROOT, cleanEnvironment } from './lib/processes.mjs';
import { parseFile, verify } from '../../sdks/js/src/index.js';

const PATH = join(ROOT, 'vectors/license-v1.json');
const PYTHON = process.env.COUNTERFOIL_TEST_PYTHON ?? join(ROOT, 'target/venv/bin/python');
const VECTORS = JSON.parse(readFileSync(PATH, 'utf8'));

async function answered({ token, trust, issuer, audience, now, ...more }) {
  const { jwks, root, key_set: keySet, serial_seen: serialSeen } = trust;
  const { state, code, entitled, features } = await verify({
    token,
    ...(jwks ? { jwks } : { root, keySet, serialSeen }),
    issuer,
    audience,
    now,
    statusList: more.status_list,
    statusListRequired: more.status_list_required,
    highestTimeSeen: more.highest_time_seen,
    clockSkew: more.clock_skew,
  });
  return { state, code, entitled, features };
}

function parsed(text) {
  try {
    const { license, keySet: key_set, statusList: status_list } = parseFile(text);
    return JSON.parse(JSON.stringify({ license, key_set, status_list }));
  } catch (error) {
    return { code: error.code };
  }
}

describe('JavaScript', () => {
  test('passes every case', async () => {
    assert.ok(VECTORS.cases.length >= 80);
    const wrong = [];
    for (const { name, expected, ...input } of VECTORS.cases) {
      const found = await answered(input);
      if (JSON.stringify(found) !== JSON.stringify({ ...found, ...expected })) wrong.push({ name, expected, found });
    }
    assert.deepEqual(wrong, []);
  });

  test('reads every file', () => {
    for (const { name, text, expected } of VECTORS.files) assert.deepEqual(parsed(text), expected, name);
  });

  test('a call with a mistake in it is an error, not an answer', async () => {
    await assert.rejects(verify({ token: '', jwks: { keys: [] }, issuer: 'i' }), TypeError);
    await assert.rejects(verify({ token: '', issuer: 'i', audience: 'a' }), TypeError);
  });
});

describe('Python', () => {
  test('passes every case and reads every file', async () => {
    assert.ok(existsSync(PYTHON), `${PYTHON} is missing: run scripts/test, which installs it`);
    const script = join(ROOT, 'sdks/python/tests/test_vectors.py');
    const environment = { ...cleanEnvironment(), PYTHONPATH: join(ROOT, 'sdks/python/src'), PYTHONDONTWRITEBYTECODE: '1' };
    const output = await new Promise((done, fail) => {
      execFile(PYTHON, [script, PATH], { env: environment, timeout: 60_000 }, (error, stdout, stderr) =>
        error ? fail(new Error(`${stdout}${stderr}`)) : done(stdout),
      );
    });
    assert.deepEqual(JSON.parse(output), { cases: VECTORS.cases.length, files: VECTORS.files.length });
  });
});
