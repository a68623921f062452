// Events say "look again", and nothing else: their order and number do not matter (invariants 3 and 5). The server runs in test mode;
// the sandbox delivers nothing by itself, so that this test decides what arrives, when and how often.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { eventually } from './lib/processes.mjs';
import { startSandbox, startTestModeServer } from './lib/servers.mjs';
import { startMailServer } from './lib/smtp.mjs';
import { assertTight, watch } from './lib/tap.mjs';

const ORIGIN = 'http://localhost:3000';
const SECRET = `whsec_${randomBytes(24).toString('hex')}`;
const TYPES = ['checkout.session.completed', 'customer.subscription.created', 'customer.subscription.updated', 'invoice.paid'];

let sandbox;
let server;
let post;
const endings = [];

before(async () => {
  const t = { after: (end) => endings.push(end) };
  sandbox = await startSandbox(t);
  post = await startMailServer(t);
  server = await startTestModeServer(t, sandbox, {
    STRIPE_WEBHOOK_SECRET: SECRET,
    COUNTERFOIL_ALLOWED_RETURN_ORIGINS: ORIGIN,
    SMTP_URL: post.url,
    COUNTERFOIL_MAIL_FROM: 'Test Shop <shop@example.com>',
  });
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

let visitors = 0;

/** A customer who has paid, of which our server has heard nothing yet, with the four events that Stripe would send. */
async function aPaidVisitor() {
  visitors += 1;
  const email = `visitor${visitors}@example.com`;
  const { customer, token } = (await server.api.post('/api/customers/signup', { email, password: 'SecurePass123' })).expect(201);
  const { checkout_url: url } = (await server.api.as(token).post('/api/subscriptions/checkout', {
    customer_id: customer.customer_id, plan: 'professional', success_url: `${ORIGIN}/success`, cancel_url: `${ORIGIN}/cancel`,
  })).expect(200);
  assert.equal((await sandbox.submitPaymentPage(url)).status, 303);
  const { data: [remote] } = await sandbox.stripe.customers.list({ email });
  const { data: [subscription] } = await sandbox.stripe.subscriptions.list({ customer: remote.id });
  const { data } = await sandbox.stripe.events.list({ limit: 100 });
  const events = TYPES.map((type) => (
    data.find((event) => event.type === type && event.data.object.customer === remote.id)
    // Newer API versions create the subscription active at once, and send no update; an older endpoint still gets one.
    ?? { ...data[0], id: `evt_${randomBytes(12).toString('hex')}`, type, data: { object: { ...subscription } } }
  ));
  return { email, mine: server.api.as(token), customerId: customer.customer_id, events };
}

async function deliver(event) {
  const body = JSON.stringify(event);
  const header = sandbox.stripe.webhooks.generateTestHeaderString({ payload: body, secret: SECRET });
  const headers = { 'content-type': 'application/json', 'stripe-signature': header };
  const answer = await server.api.send('POST', '/api/webhooks/stripe', { body, headers });
  assert.deepEqual(answer.expect(200), { received: true });
}

/** What the customer has once everything has come to rest. */
async function endState({ email, mine }) {
  await eventually('the license of the paid plan', async () => (
    (await mine.get('/api/licenses/current')).expect(200).plan === 'professional'
  ));
  await eventually('two mails', () => post.to(email).length >= 2);
  const all = (await mine.get('/api/licenses')).expect(200);
  const { plan, status } = (await mine.get('/api/customers/me')).expect(200).subscription;
  return { plan, status, versions: (all.licenses ?? all).map(({ version }) => version), mails: post.to(email).length };
}

const ONE_END_STATE = { plan: 'professional', status: 'active', versions: [2, 1], mails: 2 };

function* orders(items) {
  if (items.length <= 1) return yield items;
  for (let i = 0; i < items.length; i += 1) {
    for (const rest of orders(items.toSpliced(i, 1))) yield [items[i], ...rest];
  }
}

test('all 24 orders of the four events lead to one end state', { timeout: 180_000 }, async () => {
  const all = [...orders([0, 1, 2, 3])];
  assert.equal(all.length, 24);
  const paid = [];
  for (const order of all) {
    const visitor = await aPaidVisitor();
    for (const index of order) await deliver(visitor.events[index]);
    paid.push({ order, visitor });
  }
  for (const { order, visitor } of paid) {
    assert.deepEqual(await endState(visitor), ONE_END_STATE, order.map((index) => TYPES[index]).join(', '));
  }
});

test('the same event 20 times at once makes one license and one mail', { timeout: 60_000 }, async () => {
  const visitor = await aPaidVisitor();
  await Promise.all(Array.from({ length: 20 }, () => deliver(visitor.events[0])));
  assert.deepEqual(await endState(visitor), ONE_END_STATE);
  // And again, long after: nothing more comes of it.
  await deliver(visitor.events[0]);
  const marker = await aPaidVisitor();
  for (const event of marker.events) await deliver(event);
  assert.deepEqual(await endState(marker), ONE_END_STATE);
  assert.deepEqual(await endState(visitor), ONE_END_STATE, 'what came later was worked off, and this did not change');
});

test('an event of the same customer with lies in its payload changes nothing', { timeout: 60_000 }, async () => {
  const visitor = await aPaidVisitor();
  await deliver(visitor.events[0]);
  assert.deepEqual(await endState(visitor), ONE_END_STATE);
  const lie = structuredClone(visitor.events[1]);
  lie.id = `evt_${randomBytes(12).toString('hex')}`;
  lie.type = 'customer.subscription.deleted';
  lie.data.object.status = 'canceled';
  await deliver(lie);
  const marker = await aPaidVisitor();
  await deliver(marker.events[0]);
  await endState(marker);
  assert.deepEqual(await endState(visitor), ONE_END_STATE);
});

test('no answer and no mail held a provider id or a secret', () => {
  assert.ok(post.mails.length >= 2 * visitors);
  for (const { text } of post.mails) watch('a mail', text);
  assertTight();
});
