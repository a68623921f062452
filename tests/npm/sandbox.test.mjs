// The official Stripe SDK against our sandbox: what it can do with Stripe, it must be able to do here.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import Stripe from 'stripe';
import { eventually, scratchDirectory } from './lib/processes.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { API_VERSION, startSandbox, stripeClient } from './lib/servers.mjs';

let sandbox;
let stripe;
const endings = [];

before(async () => {
  sandbox = await startSandbox({ after: (end) => endings.push(end) });
  stripe = sandbox.stripe;
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

const RETURN_URLS = { success_url: 'http://localhost:3000/success', cancel_url: 'http://localhost:3000/cancel' };

async function aPrice(unitAmount = 4900, interval = 'month') {
  const product = await stripe.products.create({ name: 'Test product' });
  return stripe.prices.create({ product: product.id, currency: 'eur', unit_amount: unitAmount, recurring: { interval } });
}

async function anOpenSession(overrides = {}) {
  const customer = await stripe.customers.create({ email: `${randomUUID()}@example.com`, metadata: { customer_id: 'cust_test' } });
  const price = await aPrice();
  const session = await stripe.checkout.sessions.create({
    mode: 'subscription',
    customer: customer.id,
    client_reference_id: 'cust_test',
    line_items: [{ price: price.id, quantity: 1 }],
    metadata: { customer_id: 'cust_test', plan: 'professional' },
    subscription_data: { metadata: { customer_id: 'cust_test' } },
    ...RETURN_URLS,
    ...overrides,
  });
  return { customer, price, session };
}

async function aPaidSubscription() {
  const opened = await anOpenSession();
  const answer = await sandbox.submitPaymentPage(opened.session.url);
  assert.equal(answer.status, 303, `the page did not accept the payment: ${await answer.text()}`);
  const session = await stripe.checkout.sessions.retrieve(opened.session.id);
  const subscription = await stripe.subscriptions.retrieve(session.subscription);
  return { ...opened, session, subscription };
}

async function refusedWith(errorClass, promise, check = () => {}) {
  const error = await promise.then(() => assert.fail('it was not refused'), (refusal) => refusal);
  assert.ok(error instanceof errorClass, `${error.constructor.name} (${error.message}) is not ${errorClass.name}`);
  check(error);
  return error;
}

describe('keys and versions', () => {
  test('the account is the sandbox account', async () => {
    const account = await stripe.accounts.retrieveCurrent();
    assert.equal(account.object, 'account');
  });

  test('any other key is refused as Stripe refuses it', async () => {
    const stranger = stripeClient(sandbox.port, { key: 'sk_test_somebody_else' });
    await refusedWith(Stripe.errors.StripeAuthenticationError, stranger.customers.list(), (error) => {
      assert.equal(error.statusCode, 401);
      assert.ok(!error.message.includes('sk_test_somebody_else'), 'the refused key is repeated in clear');
    });
  });

  test('every answer names the pinned version and a request id', async () => {
    const customers = await stripe.customers.list({ limit: 1 });
    assert.equal(customers.lastResponse.apiVersion, API_VERSION);
    assert.match(customers.lastResponse.requestId, /^req_/);
  });
});

describe('customers', () => {
  test('create, retrieve, update, list by e-mail, delete', async () => {
    const email = `${randomUUID()}@example.com`;
    const created = await stripe.customers.create({ email, name: 'Ada', metadata: { customer_id: 'cust_1', other: 'x' } });
    assert.match(created.id, /^cus_/);
    assert.equal(created.livemode, false);

    const updated = await stripe.customers.update(created.id, { name: 'Ada L.', metadata: { other: '' } });
    assert.equal(updated.name, 'Ada L.');
    assert.deepEqual(updated.metadata, { customer_id: 'cust_1' }, 'metadata merges, and an empty value removes');

    const listed = await stripe.customers.list({ email });
    assert.deepEqual(listed.data.map(({ id }) => id), [created.id]);

    const gone = await stripe.customers.del(created.id);
    assert.equal(gone.deleted, true);
    const stub = await stripe.customers.retrieve(created.id);
    assert.deepEqual({ ...stub }, { id: created.id, object: 'customer', deleted: true });
  });

  test('a missing customer is resource_missing', async () => {
    await refusedWith(Stripe.errors.StripeInvalidRequestError, stripe.customers.retrieve('cus_nobody'), (error) => {
      assert.equal(error.statusCode, 404);
      assert.equal(error.code, 'resource_missing');
      assert.equal(error.message, "No such customer: 'cus_nobody'");
    });
  });

  test('lists page without gaps or repeats', async () => {
    const made = [];
    for (let i = 0; i < 7; i += 1) made.push((await stripe.customers.create({ email: 'pages@example.com' })).id);
    const seen = [];
    for await (const customer of stripe.customers.list({ email: 'pages@example.com', limit: 3 })) seen.push(customer.id);
    assert.deepEqual(seen, made.reverse(), 'newest first, each once');
  });
});

describe('products and prices', () => {
  test('a recurring price belongs to its product', async () => {
    const price = await aPrice(9900, 'year');
    const read = await stripe.prices.retrieve(price.id, { expand: ['product'] });
    assert.equal(read.recurring.interval, 'year');
    assert.equal(read.unit_amount, 9900);
    assert.equal(read.product.object, 'product');
    const listed = await stripe.prices.list({ product: read.product.id });
    assert.deepEqual(listed.data.map(({ id }) => id), [price.id]);
  });

  test('a price without a currency is refused', async () => {
    const product = await stripe.products.create({ name: 'No currency' });
    await refusedWith(Stripe.errors.StripeInvalidRequestError, stripe.prices.create({ product: product.id, unit_amount: 1 }));
  });
});

describe('setting an account up', () => {
  test('a lookup key moves to a new price on request', async () => {
    const product = await stripe.products.create({ name: 'Keyed' });
    const lookup_key = `key-${randomUUID()}`;
    const price = { product: product.id, currency: 'eur', recurring: { interval: 'month' }, lookup_key };
    const first = await stripe.prices.create({ ...price, unit_amount: 1000 });
    await refusedWith(Stripe.errors.StripeInvalidRequestError, stripe.prices.create({ ...price, unit_amount: 2000 }));
    const second = await stripe.prices.create({ ...price, unit_amount: 2000, transfer_lookup_key: true });
    const found = await stripe.prices.list({ lookup_keys: [lookup_key] });
    assert.deepEqual(found.data.map(({ id }) => id), [second.id]);
    const old = await stripe.prices.retrieve(first.id);
    assert.deepEqual([old.lookup_key, old.active], [null, true]);
  });

  test('an endpoint keeps its version and takes other events', async () => {
    const endpoint = await stripe.webhookEndpoints.create({
      url: 'http://localhost:9/hooks', enabled_events: ['*'], api_version: API_VERSION, metadata: { app: 'test' },
    });
    assert.match(endpoint.secret, /^whsec_/);
    const changed = await stripe.webhookEndpoints.update(endpoint.id, { enabled_events: ['invoice.paid'], disabled: true });
    assert.deepEqual([changed.enabled_events, changed.status, changed.secret], [['invoice.paid'], 'disabled', undefined]);
    assert.equal((await stripe.webhookEndpoints.del(endpoint.id)).deleted, true);
  });

  test('a configuration of the portal lists what customers may change to', async () => {
    const price = await aPrice();
    const configuration = await stripe.billingPortal.configurations.create({
      features: {
        invoice_history: { enabled: true },
        subscription_update: {
          enabled: true,
          default_allowed_updates: ['price'],
          proration_behavior: 'always_invoice',
          products: [{ product: price.product, prices: [price.id] }],
          schedule_at_period_end: { conditions: [{ type: 'decreasing_item_amount' }] },
        },
      },
    });
    assert.equal(configuration.is_default, false);
    const update = configuration.features.subscription_update;
    assert.deepEqual(update.products.map(({ prices }) => prices), [[price.id]]);
    assert.deepEqual(update.schedule_at_period_end.conditions, [{ type: 'decreasing_item_amount' }]);
    const changed = await stripe.billingPortal.configurations.update(configuration.id, { active: false });
    assert.equal(changed.active, false);
  });
});

describe('checkout sessions', () => {
  test('an open session has a page, and no subscription yet', async () => {
    const { session, customer } = await anOpenSession();
    assert.match(session.id, /^cs_test_/);
    assert.equal(session.status, 'open');
    assert.equal(session.payment_status, 'unpaid');
    assert.equal(session.subscription, null);
    assert.equal(session.customer, customer.id);
    const page = await fetch(session.url);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /name="card"/);
  });

  test('a paid session carries its subscription and invoice, and sends the browser back', async () => {
    const { session, price, customer } = await anOpenSession({
      success_url: 'http://localhost:3000/success?session_id={CHECKOUT_SESSION_ID}',
    });
    const answer = await sandbox.submitPaymentPage(session.url);
    assert.equal(answer.status, 303);
    assert.equal(answer.headers.get('location'), `http://localhost:3000/success?session_id=${session.id}`);

    const paid = await stripe.checkout.sessions.retrieve(session.id, { expand: ['subscription', 'line_items'] });
    assert.equal(paid.status, 'complete');
    assert.equal(paid.payment_status, 'paid');
    assert.equal(paid.subscription.status, 'active');
    assert.equal(paid.subscription.customer, customer.id);
    assert.deepEqual(paid.subscription.metadata, { customer_id: 'cust_test' });
    assert.equal(paid.line_items.data[0].price.id, price.id);
    assert.match(paid.invoice, /^in_/);
  });

  test('a declined card leaves the session open, and the next card may pay', async () => {
    const { session } = await anOpenSession();
    const declined = await sandbox.submitPaymentPage(session.url, { card: 'declined' });
    assert.notEqual(declined.status, 303);
    assert.equal((await stripe.checkout.sessions.retrieve(session.id)).status, 'open');
    assert.equal((await sandbox.submitPaymentPage(session.url)).status, 303);
    assert.equal((await stripe.checkout.sessions.retrieve(session.id)).status, 'complete');
  });

  test('an expired session cannot be expired again or paid', async () => {
    const { session } = await anOpenSession();
    const expired = await stripe.checkout.sessions.expire(session.id);
    assert.equal(expired.status, 'expired');
    assert.equal(expired.url, null);
    await refusedWith(Stripe.errors.StripeInvalidRequestError, stripe.checkout.sessions.expire(session.id), (error) => {
      assert.match(error.message, /Only Checkout Sessions with a status in \["open"\] can be expired/);
    });
    const late = await sandbox.submitPaymentPage(session.url);
    assert.notEqual(late.status, 303);
    assert.equal((await stripe.checkout.sessions.retrieve(session.id)).status, 'expired');
  });

  test('sessions are listed by customer and status', async () => {
    const { session, customer } = await anOpenSession();
    const open = await stripe.checkout.sessions.list({ customer: customer.id, status: 'open' });
    assert.deepEqual(open.data.map(({ id }) => id), [session.id]);
    const complete = await stripe.checkout.sessions.list({ customer: customer.id, status: 'complete' });
    assert.deepEqual(complete.data, []);
  });

  test('an unknown price and a bad return URL are refused by name', async () => {
    await refusedWith(
      Stripe.errors.StripeInvalidRequestError,
      anOpenSession({ line_items: [{ price: 'price_nobody', quantity: 1 }] }),
      (error) => {
        assert.equal(error.statusCode, 400);
        assert.equal(error.code, 'resource_missing');
        assert.equal(error.param, 'line_items[0][price]');
      },
    );
    await refusedWith(Stripe.errors.StripeInvalidRequestError, anOpenSession({ success_url: 'not a url' }), (error) => {
      assert.equal(error.code, 'url_invalid');
      assert.equal(error.param, 'success_url');
    });
  });

  test('an unknown parameter is refused', async () => {
    await refusedWith(Stripe.errors.StripeInvalidRequestError, anOpenSession({ no_such_parameter: 'x' }), (error) => {
      assert.equal(error.code, 'parameter_unknown');
    });
  });
});

describe('subscriptions', () => {
  test('the period stands on the item, as this API version has it', async () => {
    const { subscription } = await aPaidSubscription();
    const [item] = subscription.items.data;
    assert.ok(item.current_period_end > item.current_period_start);
    assert.equal(subscription.current_period_end, undefined);
  });

  test('cancel at period end, and take it back', async () => {
    const { subscription } = await aPaidSubscription();
    const ending = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: true });
    assert.equal(ending.cancel_at_period_end, true);
    assert.equal(ending.status, 'active');
    assert.ok(ending.canceled_at > 0);
    const kept = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: false });
    assert.equal(kept.cancel_at_period_end, false);
    assert.equal(kept.canceled_at, null);
  });

  test('a change of price keeps one item', async () => {
    const { subscription } = await aPaidSubscription();
    const dearer = await aPrice(19900);
    const changed = await stripe.subscriptions.update(subscription.id, {
      items: [{ id: subscription.items.data[0].id, price: dearer.id }],
      proration_behavior: 'create_prorations',
    });
    assert.deepEqual(changed.items.data.map(({ price }) => price.id), [dearer.id]);
  });

  test('a canceled one is listed only when asked for', async () => {
    const { subscription, customer } = await aPaidSubscription();
    const canceled = await stripe.subscriptions.cancel(subscription.id);
    assert.equal(canceled.status, 'canceled');
    assert.ok(canceled.ended_at > 0);
    assert.deepEqual((await stripe.subscriptions.list({ customer: customer.id })).data, []);
    const all = await stripe.subscriptions.list({ customer: customer.id, status: 'all' });
    assert.deepEqual(all.data.map(({ id, status }) => [id, status]), [[subscription.id, 'canceled']]);
  });

  test('deleting the customer cancels what is active', async () => {
    const { subscription, customer } = await aPaidSubscription();
    await stripe.customers.del(customer.id);
    assert.equal((await stripe.subscriptions.retrieve(subscription.id)).status, 'canceled');
  });
});

describe('money', () => {
  test('the invoice names its subscription, its payment and its refund', async () => {
    const { subscription, customer } = await aPaidSubscription();
    const invoices = await stripe.invoices.list({ customer: customer.id, subscription: subscription.id });
    assert.equal(invoices.data.length, 1);
    const [invoice] = invoices.data;
    assert.equal(invoice.status, 'paid');
    assert.equal(invoice.billing_reason, 'subscription_create');
    assert.equal(invoice.parent.subscription_details.subscription, subscription.id);

    const payments = await stripe.invoicePayments.list({ invoice: invoice.id });
    assert.equal(payments.data.length, 1);
    const [payment] = payments.data;
    assert.equal(payment.status, 'paid');
    assert.equal(payment.amount_paid, invoice.amount_paid);

    const refund = await stripe.refunds.create({ payment_intent: payment.payment.payment_intent });
    assert.equal(refund.amount, invoice.amount_paid);
    assert.equal(refund.status, 'succeeded');
    assert.equal((await stripe.subscriptions.retrieve(subscription.id)).status, 'active', 'a refund ends no subscription');
    await refusedWith(
      Stripe.errors.StripeInvalidRequestError,
      stripe.refunds.create({ payment_intent: payment.payment.payment_intent }),
    );
  });

  test('a card that is declined is a StripeCardError', async () => {
    const customer = await stripe.customers.create({ email: 'poor@example.com' });
    const card = await stripe.paymentMethods.attach('pm_card_chargeCustomerFail', { customer: customer.id });
    await stripe.invoiceItems.create({ customer: customer.id, amount: 2000, currency: 'usd' });
    const invoice = await stripe.invoices.create({ customer: customer.id, pending_invoice_items_behavior: 'include' });
    await refusedWith(
      Stripe.errors.StripeCardError,
      stripe.invoices.pay(invoice.id, { payment_method: card.id }),
      (error) => {
        assert.equal(error.statusCode, 402);
        assert.equal(error.code, 'card_declined');
        assert.ok(error.decline_code);
      },
    );
  });
});

describe('billing portal', () => {
  test('a portal session has a page', async () => {
    const { customer } = await aPaidSubscription();
    const portal = await stripe.billingPortal.sessions.create({ customer: customer.id, return_url: 'http://localhost:3000/account' });
    assert.match(portal.id, /^bps_/);
    const page = await fetch(portal.url);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /<form/);
  });
});

describe('events', () => {
  test('all events come by autopagination, newest first and each once', async () => {
    await aPaidSubscription();
    const ids = [];
    let newest = Infinity;
    for await (const event of stripe.events.list({ limit: 5 })) {
      assert.ok(event.created <= newest, 'newest first');
      newest = event.created;
      ids.push(event.id);
      if (ids.length === 40) break;
    }
    assert.ok(ids.length > 5, 'more than one page');
    assert.equal(new Set(ids).size, ids.length);
  });

  test('a checkout leaves the events that Stripe sends', async () => {
    const { session } = await aPaidSubscription();
    const types = ['checkout.session.completed', 'customer.subscription.created', 'invoice.paid'];
    const { data } = await stripe.events.list({ types, limit: 100 });
    assert.ok(data.some((event) => event.type === types[0] && event.data.object.id === session.id));
    assert.ok(data.some((event) => event.type === types[1] && event.data.object.id === session.subscription));
    assert.ok(data.some((event) => event.type === types[2] && event.data.object.id === session.invoice));
    const event = await stripe.events.retrieve(data[0].id);
    assert.equal(event.api_version, API_VERSION);
  });
});

describe('webhook endpoints', () => {
  test('deliveries carry a signature that the SDK accepts, and the secret is told once', async (t) => {
    const receiver = await startReceiver(t);
    const endpoint = await stripe.webhookEndpoints.create({ url: receiver.url, enabled_events: ['customer.created'] });
    t.after(() => stripe.webhookEndpoints.del(endpoint.id));
    assert.match(endpoint.secret, /^whsec_/);
    assert.equal((await stripe.webhookEndpoints.retrieve(endpoint.id)).secret, undefined);

    const customer = await stripe.customers.create({ email: 'hook@example.com' });
    await stripe.customers.update(customer.id, { name: 'not asked for' });
    const delivery = await receiver.received('customer.created');
    const event = stripe.webhooks.constructEvent(delivery.body, delivery.signature, endpoint.secret);
    assert.equal(event.data.object.id, customer.id);
    assert.throws(
      () => stripe.webhooks.constructEvent(`${delivery.body} `, delivery.signature, endpoint.secret),
      Stripe.errors.StripeSignatureVerificationError,
    );
    assert.ok(receiver.events().every(({ type }) => type === 'customer.created'), 'only enabled events are sent');
  });

  test('a delivery that failed comes again with the same event', async (t) => {
    const receiver = await startReceiver(t, { answer: (_, count) => (count === 1 ? 500 : 200) });
    const endpoint = await stripe.webhookEndpoints.create({ url: receiver.url, enabled_events: ['product.created'] });
    t.after(() => stripe.webhookEndpoints.del(endpoint.id));
    await stripe.products.create({ name: 'Twice' });
    await eventually('a second try', () => receiver.deliveries.length >= 2, { ms: 20_000 });
    const [first, second] = receiver.events();
    assert.equal(first.id, second.id);
  });
});

describe('idempotency', () => {
  test('the same key and parameters replay the first answer', async () => {
    const idempotencyKey = randomUUID();
    const first = await stripe.customers.create({ email: 'once@example.com' }, { idempotencyKey });
    const second = await stripe.customers.create({ email: 'once@example.com' }, { idempotencyKey });
    assert.equal(second.id, first.id);
    assert.equal(second.lastResponse.headers['idempotent-replayed'], 'true');
  });

  test('the same key with other parameters is a StripeIdempotencyError', async () => {
    const idempotencyKey = randomUUID();
    await stripe.customers.create({ email: 'one@example.com' }, { idempotencyKey });
    await refusedWith(
      Stripe.errors.StripeIdempotencyError,
      stripe.customers.create({ email: 'two@example.com' }, { idempotencyKey }),
      (error) => assert.match(error.message, /Keys for idempotent requests can only be used with the same parameters/),
    );
  });

  test('parallel calls with one key make one customer', async () => {
    const idempotencyKey = randomUUID();
    const email = `${randomUUID()}@example.com`;
    const patient = stripeClient(sandbox.port, { maxNetworkRetries: 5 });
    const made = await Promise.all(Array.from({ length: 10 }, () => patient.customers.create({ email }, { idempotencyKey })));
    assert.equal(new Set(made.map(({ id }) => id)).size, 1);
    assert.equal((await stripe.customers.list({ email })).data.length, 1);
  });

  test('a refused request is not stored: the key may be used again', async () => {
    const idempotencyKey = randomUUID();
    await refusedWith(Stripe.errors.StripeInvalidRequestError, stripe.customers.create({ nonsense: 'x' }, { idempotencyKey }));
    const customer = await stripe.customers.create({ email: 'after@example.com' }, { idempotencyKey });
    assert.match(customer.id, /^cus_/);
  });
});

describe('a restart', () => {
  test('with --data, customers outlive the process', async (t) => {
    const data = `${scratchDirectory(t)}/sandbox.json`;
    const first = await startSandbox(t, { data });
    const customer = await first.stripe.customers.create({ email: 'kept@example.com' });
    assert.deepEqual(await first.process.stop(), { code: 0, signal: null });
    const second = await startSandbox(t, { data });
    assert.equal((await second.stripe.customers.retrieve(customer.id)).email, 'kept@example.com');
  });
});
