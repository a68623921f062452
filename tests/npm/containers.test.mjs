// The container files, as far as they can be checked without a container engine.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { ROOT } from './lib/processes.mjs';

const read = (path) => readFileSync(join(ROOT, path), 'utf8');

describe('compose.yaml', () => {
  const compose = parse(read('compose.yaml'));

  test('the names are those that the documented commands use', () => {
    // docker exec -it billing-postgres-1 psql -U billing -d billing
    assert.equal(compose.name, 'billing');
    assert.equal(compose.services.postgres.environment.POSTGRES_USER, 'billing');
    assert.equal(compose.services.postgres.environment.POSTGRES_DB, 'billing');
    assert.equal(compose.services.postgres.container_name, undefined, 'compose names it billing-postgres-1');
  });

  test('the service waits for a healthy database and uses it', () => {
    const service = compose.services.counterfoil;
    assert.equal(service.depends_on.postgres.condition, 'service_healthy');
    assert.ok(compose.services.postgres.healthcheck.test.join(' ').includes('pg_isready'));
    const url = new URL(service.environment.DATABASE_URL.replace(/\$\{[^}]+\}/, 'secret'));
    assert.deepEqual([url.protocol, url.username, url.hostname, url.pathname], ['postgres:', 'billing', 'postgres', '/billing']);
  });

  test('the ports are published on loopback only, and carried to the ports that the service listens on', () => {
    assert.deepEqual(compose.services.gateway.ports, ['127.0.0.1:3100:8100', '127.0.0.1:3101:8101']);
    assert.equal(compose.services.counterfoil.network_mode, 'service:gateway');
    assert.equal(compose.services.counterfoil.environment.COUNTERFOIL_LISTEN, '127.0.0.1:3100');
    for (const port of [3100, 3101]) assert.ok(read('Dockerfile').includes(`TCP-LISTEN:8${port % 1000},fork,reuseaddr TCP:127.0.0.1:${port}`));
    assert.equal(compose.services.postgres.ports, undefined, 'the database is not published');
  });

  test('no secret is written down, and every setting is one that the server knows', () => {
    const settings = read('crates/server/src/config/settings.rs');
    const known = new Set([...settings.matchAll(/"([A-Z][A-Z_]+)"/g)].map(([, name]) => name));
    assert.ok(known.has('DATABASE_URL'));
    for (const [name, service] of Object.entries(compose.services)) {
      if (name === 'postgres') continue;
      for (const key of Object.keys(service.environment ?? {})) assert.ok(known.has(key), `${name}: ${key}`);
    }
    assert.doesNotMatch(read('compose.yaml'), /sk_(?:test|live)_|rk_(?:test|live)_|whsec_/);
    assert.match(read('compose.yaml'), /POSTGRES_PASSWORD: \$\{/);
  });

  test('every named volume is declared', () => {
    for (const { volumes = [] } of Object.values(compose.services)) {
      for (const volume of volumes) {
        const [source] = volume.split(':');
        if (!source.startsWith('.') && !source.startsWith('/')) assert.ok(source in compose.volumes, source);
      }
    }
  });
});

describe('Dockerfile', () => {
  const dockerfile = read('Dockerfile');
  const lines = dockerfile.replaceAll('\\\n', ' ').split('\n').filter((line) => line && !line.startsWith('#'));
  const ignored = read('.dockerignore').split('\n').filter((line) => line && !line.startsWith('#'));

  test('what it copies exists and is not ignored', () => {
    const copies = lines.filter((line) => line.startsWith('COPY ') && !line.includes('--from='));
    assert.ok(copies.length > 0);
    for (const copy of copies) {
      for (const source of copy.split(/\s+/).slice(1, -1).filter((word) => !word.startsWith('--'))) {
        assert.ok(existsSync(join(ROOT, source)), source);
        assert.ok(!ignored.includes(source), `${source} is in .dockerignore`);
      }
    }
  });

  test('it builds with the locked dependencies and runs as nobody special', () => {
    assert.match(dockerfile, /cargo build [^\n]*--locked/);
    assert.ok(/^FROM \S+$/.test(lines.filter((line) => line.startsWith('FROM ')).at(-1)), 'the last stage is the service');
    const user = lines.filter((line) => line.startsWith('USER ')).at(-1);
    assert.ok(user && !/^USER (?:root|0)\b/.test(user), user);
    assert.ok(lines.indexOf(user) > lines.findLastIndex((line) => line.startsWith('FROM ')));
  });

  test('the Rust it builds with is the one the workspace asks for', () => {
    const [, wanted] = read('Cargo.toml').match(/rust-version = "([\d.]+)"/);
    assert.ok(dockerfile.includes(`FROM rust:${wanted}`));
  });

  test('the data directory is a volume and the port is told', () => {
    assert.match(dockerfile, /^VOLUME .*\/data/m);
    assert.match(dockerfile, /^EXPOSE 3100/m);
    assert.match(dockerfile, /COUNTERFOIL_DATA_DIR=\/data/);
  });

  test('every crate of the workspace is in the build context', () => {
    for (const path of ['target', 'tests', 'data']) assert.ok(ignored.some((line) => line.replace(/^\/|\/$/g, '') === path), `${path} is sent to the engine`);
  });
});
