// Signatures made by the official SDK, at our webhook. The server runs in test mode with two secrets, as while one is rolled.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { assertTight } from './lib/tap.mjs';
import { API_VERSION, startSandbox, startTestModeServer } from './lib/servers.mjs';

const OLD_SECRET = `whsec_${randomBytes(24).toString('hex')}`;
const NEW_SECRET = `whsec_${randomBytes(24).toString('hex')}`;
const BODY_BYTES_MAX = 1024 * 1024;

let sandbox;
let server;
const endings = [];

before(async () => {
  const t = { after: (end) => endings.push(end) };
  sandbox = await startSandbox(t);
  server = await startTestModeServer(t, sandbox, { STRIPE_WEBHOOK_SECRET: `${OLD_SECRET},${NEW_SECRET}` });
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

function anEvent(overrides = {}) {
  return JSON.stringify({
    id: `evt_${randomBytes(12).toString('hex')}`,
    object: 'event',
    api_version: API_VERSION,
    created: Math.floor(Date.now() / 1000),
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    type: 'customer.created',
    data: { object: { id: 'cus_notOurs0001', object: 'customer', metadata: {} } },
    ...overrides,
  });
}

const now = () => Math.floor(Date.now() / 1000);

function signed(payload, options = {}) {
  return sandbox.stripe.webhooks.generateTestHeaderString({ payload, secret: NEW_SECRET, ...options });
}

/** The bare v1 value, to build headers that the SDK would not make. */
function v1(payload, timestamp, secret = NEW_SECRET) {
  return createHmac('sha256', secret).update(`${timestamp}.${payload}`).digest('hex');
}

function deliver(payload, header) {
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  if (header !== undefined) headers['stripe-signature'] = header;
  return server.api.send('POST', '/api/webhooks/stripe', { body: payload, headers });
}

async function accepted(payload, header) {
  assert.deepEqual((await deliver(payload, header)).expect(200), { received: true });
}

async function refused(payload, header) {
  (await deliver(payload, header)).refused(400, 'invalid_signature');
}

describe('accepted', () => {
  test('a signature of the newer secret', async () => {
    const payload = anEvent();
    await accepted(payload, signed(payload));
  });

  test('a signature of the older secret', async () => {
    const payload = anEvent();
    await accepted(payload, signed(payload, { secret: OLD_SECRET }));
  });

  test('one v1 for each secret, the good one first or last', async () => {
    for (const secrets of [['whsec_unknown', NEW_SECRET], [NEW_SECRET, 'whsec_unknown'], [OLD_SECRET, NEW_SECRET]]) {
      const payload = anEvent();
      const t = now();
      await accepted(payload, `t=${t},${secrets.map((secret) => `v1=${v1(payload, t, secret)}`).join(',')}`);
    }
  });

  test('a v0 beside the v1, unknown items, items in another order', async () => {
    const t = now();
    const headers = [
      (good) => `t=${t},v1=${good},v0=${'0'.repeat(64)}`,
      (good) => `v1=${good},t=${t}`,
      (good) => `t=${t},v9=x,v1=${good}`,
      (good) => `t=${t},v1=nothex,v1=${good}`,
    ];
    for (const header of headers) {
      const payload = anEvent();
      await accepted(payload, header(v1(payload, t)));
    }
  });

  test('a signature a little younger than 300 seconds, and one from the future', async () => {
    // Not 300 to the second: the clock moves on between signing and checking.
    for (const timestamp of [now() - 290, now() + 600]) {
      const payload = anEvent();
      await accepted(payload, signed(payload, { timestamp }));
    }
  });

  test('the same event again', async () => {
    const payload = anEvent();
    await accepted(payload, signed(payload));
    await accepted(payload, signed(payload));
  });

  test('an unknown event type, and unknown fields', async () => {
    const payload = anEvent({ type: 'something.brand_new', novelty: { deep: [1, 2] } });
    await accepted(payload, signed(payload));
  });

  test('a body of just 1 MiB', async () => {
    const payload = anEvent({ padding: '' });
    const full = payload.replace('"padding":""', () => `"padding":"${'x'.repeat(BODY_BYTES_MAX - payload.length)}"`);
    assert.equal(Buffer.byteLength(full), BODY_BYTES_MAX);
    await accepted(full, signed(full));
  });
});

describe('refused', () => {
  test('no header, an empty one, junk', async () => {
    for (const header of [undefined, '', 'junk', 't=,v1=', `t=${now()}`]) await refused(anEvent(), header);
  });

  test('an unknown secret', async () => {
    const payload = anEvent();
    await refused(payload, signed(payload, { secret: 'whsec_somebody_else' }));
  });

  test('a signature older than 300 seconds', async () => {
    const payload = anEvent();
    await refused(payload, signed(payload, { timestamp: now() - 302 }));
  });

  test('a body changed by one byte, a newline, or its spelling', async () => {
    const payload = anEvent();
    const header = signed(payload);
    await refused(payload.replace('customer.created', 'customer.creatad'), header);
    await refused(`${payload}\n`, header);
    await refused(JSON.stringify(JSON.parse(payload), null, 1), header);
  });

  test('only a v0', async () => {
    const payload = anEvent();
    await refused(payload, signed(payload, { scheme: 'v0' }));
  });

  test('uppercase or truncated hex', async () => {
    const payload = anEvent();
    const t = now();
    const good = v1(payload, t);
    await refused(payload, `t=${t},v1=${good.toUpperCase()}`);
    await refused(payload, `t=${t},v1=${good.slice(0, -1)}`);
    await refused(payload, `t=${t},v1=`);
  });

  test('a missing, doubled or decorated timestamp', async () => {
    const payload = anEvent();
    const t = now();
    const good = v1(payload, t);
    await refused(payload, `v1=${good}`);
    await refused(payload, `t=${t - 1},t=${t},v1=${good}`);
    await refused(payload, `t=${t}abc,v1=${good}`);
    await refused(payload, `t=-${t},v1=${good}`);
  });

  test('a space before the item', async () => {
    const payload = anEvent();
    const t = now();
    await refused(payload, `t=${t}, v1=${v1(payload, t)}`);
  });

  test('an empty body, even when signed', async () => {
    const answer = await deliver('', `t=${now()},v1=${v1('', now())}`);
    answer.refused(400);
  });

  test('signed text that is no event', async () => {
    for (const payload of ['{"id":', '[]', '"text"', '{}']) (await deliver(payload, signed(payload))).refused(400);
  });

  test('more than 1 MiB', async () => {
    const payload = 'x'.repeat(BODY_BYTES_MAX + 1);
    (await deliver(payload, signed(payload))).refused(413);
  });

  test('any method but POST', async () => {
    assert.equal((await server.api.get('/api/webhooks/stripe')).status, 405);
  });
});

test('what the sender was told holds no secret and no provider id', () => assertTight());
