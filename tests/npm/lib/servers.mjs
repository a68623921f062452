// The two services under test, as processes: our server and the Stripe sandbox.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import Stripe from 'stripe';
import { Api } from './http.mjs';
import { Process, freePort, scratchDirectory } from './processes.mjs';

export const API_VERSION = '2026-05-27.dahlia';
export const SANDBOX_KEY = 'sk_test_sandbox';

export function stripeClient(port, { key = SANDBOX_KEY, ...options } = {}) {
  return new Stripe(key, {
    host: '127.0.0.1', port, protocol: 'http', apiVersion: API_VERSION, telemetry: false, maxNetworkRetries: 0, timeout: 20_000, ...options,
  });
}

async function answers(url, headers = {}) {
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.status === 200;
}

/** The address of the sandbox, and the calls that are not Stripe's: its page, its clock, its faults. */
export class Sandbox {
  constructor(port, process) {
    this.port = port;
    this.base = `http://127.0.0.1:${port}`;
    this.process = process;
    this.stripe = stripeClient(port);
  }

  async control(path, json) {
    const response = await fetch(`${this.base}/_sandbox/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${SANDBOX_KEY}` },
      body: JSON.stringify(json),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`/_sandbox/${path}: ${response.status} ${text}`);
    return text === '' ? null : JSON.parse(text);
  }

  /** Pays as a person would, by the form of the hosted page. Answers where the page sends the browser. */
  async submitPaymentPage(url, fields = { card: 'success' }) {
    return fetch(url, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual', signal: AbortSignal.timeout(10_000) });
  }
}

export async function startSandbox(t, { data } = {}) {
  const port = await freePort();
  const args = ['sandbox', '--listen', `127.0.0.1:${port}`];
  if (data) args.push('--data', data);
  const child = new Process('the sandbox', args, {}, scratchDirectory(t));
  t?.after(() => child.stop());
  await child.ready(() => answers(`http://127.0.0.1:${port}/v1/account`, { authorization: `Bearer ${SANDBOX_KEY}` }));
  return new Sandbox(port, child);
}

/** A server in sandbox mode: it brings its own Stripe sandbox, mailbox and database. */
export async function startSandboxServer(t, env = {}, { port, sandboxPort, directory } = {}) {
  port ??= await freePort();
  sandboxPort ??= await freePort();
  directory ??= scratchDirectory(t);
  const server = await startServer(t, {
    COUNTERFOIL_SANDBOX_LISTEN: `127.0.0.1:${sandboxPort}`,
    ...env,
  }, { port, directory });
  server.sandbox = new Sandbox(sandboxPort, server.process);
  return server;
}

/** A server in test mode, against a sandbox that runs as a process of its own. */
export async function startTestModeServer(t, sandbox, env = {}, { port, directory } = {}) {
  port ??= await freePort();
  const endpoint = env.STRIPE_WEBHOOK_SECRET
    ? null
    : await sandbox.stripe.webhookEndpoints.create({ url: `http://127.0.0.1:${port}/api/webhooks/stripe`, enabled_events: ['*'] });
  const server = await startServer(t, {
    STRIPE_SECRET_KEY: SANDBOX_KEY,
    STRIPE_WEBHOOK_SECRET: endpoint?.secret,
    STRIPE_API_BASE: sandbox.base,
    ...env,
  }, { port, directory });
  server.sandbox = sandbox;
  return server;
}

async function startServer(t, env, { port, directory }) {
  directory ??= scratchDirectory(t);
  const base = `http://127.0.0.1:${port}`;
  const child = new Process('the server', ['serve'], {
    COUNTERFOIL_LISTEN: `127.0.0.1:${port}`,
    COUNTERFOIL_PUBLIC_URL: base,
    COUNTERFOIL_DATA_DIR: directory,
    ...env,
  }, directory);
  t?.after(() => child.stop());
  await child.ready(() => answers(`${base}/readyz`));
  return { base, port, directory, process: child, api: new Api(base) };
}

/** A fresh, empty PostgreSQL database of the cluster that scripts/test started; it is dropped after the test. */
export function freshPostgres(t) {
  const cluster = process.env.COUNTERFOIL_TEST_POSTGRES_URL;
  if (!cluster) throw new Error('COUNTERFOIL_TEST_POSTGRES_URL is not set: run scripts/test, which starts a PostgreSQL');
  const name = `npm_${randomBytes(6).toString('hex')}`;
  sql(cluster, `create database ${name}`);
  t?.after(() => sql(cluster, `drop database if exists ${name} with (force)`));
  const url = new URL(cluster);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs one statement with psql and answers its rows, unaligned, as an operator at a terminal would see them. */
export function sql(url, statement) {
  return execFileSync('psql', [url, '--no-psqlrc', '--tuples-only', '--no-align', '--quiet', '-v', 'ON_ERROR_STOP=1', '-c', statement], {
    encoding: 'utf8', timeout: 20_000,
  });
}
