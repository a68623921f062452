// Keeps what every service of a test file printed, and looks through all of it when the file ends: what no log may hold stands in
// tests/leaks.json, which the other suites read as well. A leak makes the file fail, whatever its tests say.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TABLE = JSON.parse(readFileSync(join(fileURLToPath(new URL('../..', import.meta.url)), 'leaks.json'), 'utf8'));
export const SHAPES = TABLE.shapes.map((shape) => ({ ...shape, pattern: new RegExp(shape.pattern) }));
export const HARMLESS = TABLE.harmless;

const guarded = new Set();
const services = [];

/** From now on this text may be in no log. */
export function guard(secret) {
  if (typeof secret === 'string' && secret.length >= 6) guarded.add(secret);
}

/** The passwords in what is sent may be in no log. */
export function guardPasswords(json) {
  for (const [name, value] of Object.entries(json ?? {})) if (/password/.test(name)) guard(value);
}

/** What a log holds that no log may hold, line by line. */
export function leaksInLog(log) {
  const leaks = [];
  for (const line of log.split('\n')) {
    const shape = SHAPES.find(({ pattern }) => pattern.test(line));
    const secret = [...guarded].find((text) => line.includes(text));
    if (shape || secret) leaks.push(`${shape?.what ?? 'a secret of this test'}: ${line.slice(0, 300)}`);
  }
  return leaks;
}

/** Remembers a service, `{ name, log }`, whose log is looked through at the end. */
export function keepLog(service) {
  services.push(service);
}

/** What all services have printed so far. */
export function allLeaks() {
  return services.flatMap(({ name, log }) => leaksInLog(log).map((leak) => `${name}: ${leak}`));
}

// When the runner ends, nothing prints any more, also where a test broke off. The exit code is what its parent goes by.
process.on('exit', () => {
  const leaks = allLeaks();
  if (leaks.length === 0) return;
  process.exitCode = 1;
  process.stderr.write(`The logs of this file hold what no log may hold:\n${leaks.slice(0, 20).join('\n')}\n`);
});
