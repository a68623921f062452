// Never two Stripe customers for one customer (invariant 2): two server processes on one PostgreSQL, and a process killed between
// Stripe's answer and our commit.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENGINES, freshDatabase } from './lib/database.mjs';
import { eventually, freePort, scratchDirectory } from './lib/processes.mjs';
import { startProxy } from './lib/proxy.mjs';
import { startSandbox, startTestModeServer } from './lib/servers.mjs';
import { assertTight } from './lib/tap.mjs';

const ORIGIN = 'http://localhost:3000';
const TEST_MODE = { COUNTERFOIL_ALLOWED_RETURN_ORIGINS: ORIGIN };

async function signUp(api, email) {
  const { customer, token } = (await api.post('/api/customers/signup', { email, password: 'SecurePass123' })).expect(201);
  return { customerId: customer.customer_id, token };
}

function checkout(api, { customerId, token }) {
  return api.as(token).post('/api/subscriptions/checkout', {
    customer_id: customerId, plan: 'professional', success_url: `${ORIGIN}/success`, cancel_url: `${ORIGIN}/cancel`,
  });
}

async function stripeCustomersOf(stripe, customerId) {
  const found = [];
  for await (const customer of stripe.customers.list({ limit: 100 })) {
    if (customer.metadata.customer_id === customerId) found.push(customer);
  }
  return found;
}

test('50 parallel checkouts over two servers: one Stripe customer, one open session', { timeout: 180_000 }, async (t) => {
  const sandbox = await startSandbox(t);
  const directory = scratchDirectory(t); // both replicas sign with the same key
  const database = freshDatabase(t, 'postgres', directory);
  const first = await startTestModeServer(t, sandbox, { ...TEST_MODE, ...database.env }, { directory });
  const second = await startTestModeServer(
    t, sandbox, { ...TEST_MODE, ...database.env, COUNTERFOIL_PUBLIC_URL: first.base }, { directory },
  );
  const ada = await signUp(first.api, 'ada@example.com');

  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => checkout([first, second][i % 2].api, ada)));

  const urls = new Set();
  for (const answer of answers) {
    // A server may ask a caller to come again while another one holds the customer; it may not answer anything else.
    if (answer.status === 503) assert.ok(answer.headers.get('retry-after'), answer.text);
    else urls.add(answer.expect(200).checkout_url);
  }
  assert.equal(urls.size, 1, 'everyone was sent to the same payment page');
  const customers = await stripeCustomersOf(sandbox.stripe, ada.customerId);
  assert.equal(customers.length, 1);
  const { data: open } = await sandbox.stripe.checkout.sessions.list({ customer: customers[0].id, status: 'open' });
  assert.equal(open.length, 1);
  assert.deepEqual(
    database.rows(`select stripe_customer_id from customers where customer_id = '${ada.customerId}'`),
    [[customers[0].id]],
  );

  const paid = await sandbox.submitPaymentPage([...urls][0]);
  assert.equal(paid.status, 303);
  for (const server of [first, second]) {
    await eventually('both servers know of the payment', async () => {
      const license = (await server.api.as(ada.token).get('/api/licenses/current')).expect(200);
      return license.plan === 'professional' && license.version === 2;
    });
  }
});

for (const engine of ENGINES) {
  test(`killed between Stripe's answer and our commit, on ${engine}: the same Stripe customer`, { timeout: 180_000 }, async (t) => {
    const sandbox = await startSandbox(t);
    const directory = scratchDirectory(t);
    const database = freshDatabase(t, engine, directory);
    const port = await freePort();
    let server;
    let killed = null;
    const proxy = await startProxy(t, sandbox.base, async ({ method, path, status, body }) => {
      if (killed !== null || method !== 'POST' || path !== '/v1/customers') return undefined;
      assert.equal(status, 200, body);
      killed = JSON.parse(body).id;
      await server.process.kill();
      return 'drop';
    });
    const env = { ...TEST_MODE, ...database.env, STRIPE_API_BASE: proxy.base, STRIPE_WEBHOOK_SECRET: `whsec_${'5e'.repeat(24)}` };
    server = await startTestModeServer(t, sandbox, env, { directory, port });
    const ada = await signUp(server.api, 'ada@example.com');

    await assert.rejects(checkout(server.api, ada), 'the process died in the middle of the call');
    assert.match(killed, /^cus_/);
    assert.deepEqual(
      database.rows(`select stripe_customer_id from customers where customer_id = '${ada.customerId}'`),
      [['']],
      'it died before the commit',
    );

    server = await startTestModeServer(t, sandbox, env, { directory, port });
    // The dead process may have left a lease behind; until it runs out, callers are asked to come again.
    const answer = await eventually('a checkout after the restart', async () => {
      const next = await checkout(server.api, ada);
      return next.status !== 503 && next;
    }, { ms: 90_000, every: 500 });
    answer.expect(200);
    assert.deepEqual((await stripeCustomersOf(sandbox.stripe, ada.customerId)).map(({ id }) => id), [killed]);
    assert.deepEqual(
      database.rows(`select stripe_customer_id from customers where customer_id = '${ada.customerId}'`),
      [[killed]],
    );
  });
}

test('no answer held a provider id or a secret', () => assertTight());
