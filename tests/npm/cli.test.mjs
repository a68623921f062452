// The official Stripe CLI triggers events at our sandbox, as a developer would.
// It runs offline: telemetry is off, its home is a scratch directory, and every other host is behind a proxy that is not there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { scratchDirectory } from './lib/processes.mjs';
import { SANDBOX_KEY, startSandbox } from './lib/servers.mjs';

// The package of the binary itself: its wrapper, @stripe/cli, names packages for platforms that are not always to be had, and a
// time limit would end the wrapper and leave the binary running.
const PACKAGE = `@stripe/cli-${process.platform}-${process.arch}`;
const binary = findBinary();

function findBinary() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`)), 'bin', 'stripe');
  } catch (cause) {
    throw new Error(`${PACKAGE} is not installed: add it to tests/npm/package.json to run the Stripe CLI on this platform`, { cause });
  }
}

let sandbox;
const endings = [];

before(async () => {
  sandbox = await startSandbox({ after: (end) => endings.push(end) });
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

function runCli(t, ...args) {
  const home = scratchDirectory(t);
  const nowhere = 'http://127.0.0.1:9';
  const env = {
    PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, STRIPE_CLI_TELEMETRY_OPTOUT: '1',
    HTTPS_PROXY: nowhere, HTTP_PROXY: nowhere, NO_PROXY: '127.0.0.1', NO_COLOR: '1',
  };
  return new Promise((done, fail) => {
    const child = spawn(binary, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000, killSignal: 'SIGKILL' });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
    child.once('error', fail);
    child.once('exit', (code) => done({ code, output }));
  });
}

async function trigger(t, event) {
  const { code, output } = await runCli(t, 'trigger', event, '--api-base', sandbox.base, '--api-key', SANDBOX_KEY);
  assert.equal(code, 0, output);
  assert.match(output, /Trigger succeeded/, output);
  const { data } = await sandbox.stripe.events.list({ type: event });
  assert.ok(data.length >= 1, `no ${event} among the events`);
  return data[0].data.object;
}

test('trigger customer.subscription.created', async (t) => {
  const subscription = await trigger(t, 'customer.subscription.created');
  assert.equal(subscription.object, 'subscription');
  assert.equal(subscription.status, 'active');
});

test('trigger checkout.session.completed', async (t) => {
  const session = await trigger(t, 'checkout.session.completed');
  assert.equal(session.status, 'complete');
  assert.equal(session.payment_status, 'paid');
});

test('trigger invoice.payment_failed', async (t) => {
  const invoice = await trigger(t, 'invoice.payment_failed');
  assert.equal(invoice.object, 'invoice');
  assert.equal(invoice.status, 'open');
  assert.ok(invoice.attempt_count >= 1);
});

test('a wrong key is refused', async (t) => {
  const { code, output } = await runCli(t, 'trigger', 'customer.created', '--api-base', sandbox.base, '--api-key', 'sk_test_somebodyelse1');
  assert.notEqual(code, 0);
  assert.match(output, /Invalid API Key|invalid_request_error|401/i, output);
});
