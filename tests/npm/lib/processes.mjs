// Starts the built binary as a real process, waits until it answers, and ends it with the test.
// Each child gets an environment of its own, so that no developer's setting reaches it.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepLog } from './logs.mjs';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const BINARY = process.env.COUNTERFOIL_TEST_BINARY ?? join(ROOT, 'target/debug/counterfoil');

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 10_000;
// Commands whose output is a log; what others print is meant for an operator's eyes.
const SERVICES = new Set([undefined, 'serve', 'sandbox']);

/** A port that was free a moment ago, on loopback. */
export function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

export async function portIsFree(port) {
  return new Promise((done) => {
    const probe = createServer();
    probe.once('error', () => done(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => done(true)));
  });
}

/** A scratch directory that goes away with the test context `t` (or stays, without one, until `remove()`). */
export function scratchDirectory(t) {
  const path = mkdtempSync(join(tmpdir(), 'counterfoil-npm-'));
  t?.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function cleanEnvironment(extra = {}) {
  return { PATH: process.env.PATH, LANG: 'C.UTF-8', TZ: 'UTC', HOME: tmpdir(), RUST_BACKTRACE: '1', ...extra };
}

/** Polls `probe` until it returns something true; an exception counts as "not yet". */
export async function eventually(what, probe, { ms = 10_000, every = 50 } = {}) {
  const deadline = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${ms} ms in vain: ${what}`, { cause: last });
    }
    await sleep(every);
  }
}

export class Process {
  constructor(name, args, env, cwd) {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run cargo build first`);
    this.name = name;
    this.log = '';
    this.exit = null;
    if (SERVICES.has(args[0])) keepLog(this);
    this.child = spawn(BINARY, args, { env: cleanEnvironment(env), cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.log += text; });
    }
    /** All that it printed has arrived in `log`. */
    this.closed = new Promise((done) => this.child.once('close', done));
    this.ended = new Promise((done) => {
      this.child.once('exit', (code, signal) => done((this.exit = { code, signal })));
      this.child.once('error', (error) => done((this.exit = { code: null, signal: null, error })));
    });
  }

  /** Waits until `probe` succeeds, and fails at once, with the log, when the process ends before. */
  async ready(probe) {
    try {
      await eventually(`${this.name} is ready`, async () => this.exit ?? (await probe()), { ms: START_MS_MAX });
    } catch (error) {
      await this.kill();
      throw new Error(`${error.message}\n${this.log}`, { cause: error.cause });
    }
    if (this.exit) throw new Error(`${this.name} ended at its start: ${JSON.stringify(this.exit)}\n${this.log}`);
    return this;
  }

  /** Asks it to stop, as an operator would, and answers how it ended. */
  async stop() {
    if (!this.exit) this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS_MAX);
    const exit = await this.ended;
    clearTimeout(timer);
    return exit;
  }

  async kill() {
    if (!this.exit) this.child.kill('SIGKILL');
    return this.ended;
  }
}
