// The acceptance run: from sign-up to a paid license, through HTTP alone, on both databases.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENGINES, freshDatabase } from './lib/database.mjs';
import { verifyLicense } from './lib/license.mjs';
import { eventually, scratchDirectory } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';
import { assertTight, leaksIn } from './lib/tap.mjs';

const DAY_SECONDS = 86_400;
const SIGNUP = { email: 'test@example.com', password: 'SecurePass123', company_name: 'Test Corp' };
const RETURN_URLS = { success_url: 'http://localhost:3000/success', cancel_url: 'http://localhost:3000/cancel' };
const seconds = (text) => Math.floor(Date.parse(text) / 1000);

async function world(t, engine) {
  const directory = scratchDirectory(t);
  const database = freshDatabase(t, engine, directory);
  const server = await startSandboxServer(t, database.env, { directory });
  return { server, database, sandbox: server.sandbox };
}

async function mailbox(server) {
  return (await server.api.get('/sandbox/mailbox')).text;
}

function mailLinks(page) {
  const links = [...page.matchAll(/<a\b[^>]*\bmail-link\b[^>]*>/g)].map(([tag]) => /href="([^"]+)"/.exec(tag)[1]);
  return [...new Set(links)];
}

const countOf = (text, part) => text.split(part).length - 1;

for (const engine of ENGINES) {
  test(`from sign-up to a paid license, on ${engine}`, { timeout: 120_000 }, async (t) => {
    const { server, database, sandbox } = await world(t, engine);
    const { api } = server;
    let signup;
    let customerId;
    let checkoutUrl;

    await t.test('sign-up starts a trial and asks no provider', async () => {
      signup = (await api.post('/api/customers/signup', SIGNUP)).expect(201);
      customerId = signup.customer.customer_id;
      assert.match(customerId, /^cust_[0-9a-f]{32}$/);
      assert.equal(signup.customer.email, SIGNUP.email);
      assert.equal(signup.customer.company_name, SIGNUP.company_name);
      assert.ok(signup.customer.stripe_customer_id == null);
      assert.equal(signup.subscription.plan, 'trial');
      assert.equal(signup.subscription.status, 'trialing');
      const days = (seconds(signup.subscription.trial_ends_at) - seconds(signup.customer.created_at)) / DAY_SECONDS;
      assert.ok(Math.abs(days - 14) < 0.01, `a trial of ${days} days`);
      assert.deepEqual(
        database.rows(`select customer_id, email, stripe_customer_id from customers`),
        [[customerId, SIGNUP.email, '']],
      );
      assert.deepEqual((await sandbox.stripe.customers.list()).data, [], 'nothing was created at Stripe');
    });

    await t.test('the trial license verifies by the published keys alone', async () => {
      const { header, claims } = await verifyLicense(server, signup.license.token);
      assert.equal(header.alg, 'EdDSA');
      assert.ok(header.kid);
      assert.equal(claims.customer_id, customerId);
      assert.equal(claims.sub, customerId);
      assert.equal(claims.plan, 'trial');
      assert.equal(claims.trial, true);
      assert.equal(claims.ver, 1);
      assert.equal(claims.jti, signup.license.license_id);
      assert.ok(Array.isArray(claims.features) && claims.features.length > 0);
      assert.ok(claims.exp >= seconds(signup.subscription.trial_ends_at));
      assert.equal(claims.exp, claims.grace_until);
      assert.ok(!JSON.stringify(claims).includes(SIGNUP.email), 'a license carries no e-mail');
      const forged = `${signup.license.token.slice(0, -4)}AAAA`;
      await assert.rejects(verifyLicense(server, forged));
    });

    await t.test('checkout answers a payment page and creates one Stripe customer', async () => {
      const answer = await api.post('/api/subscriptions/checkout', { customer_id: customerId, plan: 'professional', ...RETURN_URLS });
      const body = answer.expect(200);
      assert.deepEqual(Object.keys(body), ['checkout_url']);
      checkoutUrl = body.checkout_url;
      assert.equal(new URL(checkoutUrl).port, String(sandbox.port));

      const [[id, email, stripeId]] = database.rows(
        `select customer_id, email, stripe_customer_id from customers where customer_id = '${customerId}'`,
      );
      assert.deepEqual([id, email], [customerId, SIGNUP.email]);
      assert.match(stripeId, /^cus_/);
      const customer = await sandbox.stripe.customers.retrieve(stripeId);
      assert.equal(customer.metadata.customer_id, customerId);
      const again = await api.post('/api/subscriptions/checkout', { customer_id: customerId, plan: 'professional', ...RETURN_URLS });
      assert.equal(again.expect(200).checkout_url, checkoutUrl, 'an open session is used again');
    });

    await t.test('nothing changes before the customer pays', async () => {
      const current = (await api.as(signup.token).get('/api/licenses/current')).expect(200);
      assert.equal(current.version, 1);
      assert.equal(current.plan, 'trial');
    });

    await t.test('payment makes the subscription active and the license professional', async () => {
      const answer = await sandbox.submitPaymentPage(checkoutUrl);
      assert.equal(answer.status, 303, await answer.text());
      assert.equal(answer.headers.get('location'), RETURN_URLS.success_url);
      const paidAt = Date.now();
      const license = await eventually('license version 2', async () => {
        const current = (await api.as(signup.token).get('/api/licenses/current')).expect(200);
        return current.version === 2 && current;
      }, { ms: 10_000, every: 25 });
      t.diagnostic(`${engine}: licensed ${Date.now() - paidAt} ms after the payment`);
      assert.equal(license.plan, 'professional');
      assert.equal(license.status, 'active');

      const [[plan, status, stripeSubscription, periodEnd]] = database.rows(
        `select plan, status, stripe_subscription_id, current_period_ends_at from subscriptions where customer_id = '${customerId}'`,
      );
      assert.deepEqual([plan, status], ['professional', 'active']);
      assert.match(stripeSubscription, /^sub_/);
      assert.ok(periodEnd);
      const remote = await sandbox.stripe.subscriptions.retrieve(stripeSubscription);
      const periodEndsAt = remote.items.data[0].current_period_end;

      const { claims } = await verifyLicense(server, license.token);
      assert.equal(claims.plan, 'professional');
      assert.equal(claims.trial, false);
      assert.equal(claims.ver, 2);
      assert.equal(claims.customer_id, customerId);
      assert.ok(claims.exp >= periodEndsAt, 'valid for the paid period');
      assert.ok(claims.exp <= periodEndsAt + 31 * DAY_SECONDS, 'and never longer than a grace after it');
      assert.equal(claims.exp, claims.grace_until);
      const trialFeatures = (await verifyLicense(server, signup.license.token)).claims.features;
      assert.notDeepEqual(claims.features, trialFeatures);
    });

    await t.test('the customer sees it everywhere', async () => {
      const mine = api.as(signup.token);
      const me = (await mine.get('/api/customers/me')).expect(200);
      assert.equal(me.customer.customer_id, customerId);
      assert.equal(me.subscription.plan, 'professional');
      const subscription = (await mine.get('/api/subscriptions/current')).expect(200);
      assert.equal((subscription.subscription ?? subscription).status, 'active');
      const all = (await mine.get('/api/licenses')).expect(200);
      assert.deepEqual((all.licenses ?? all).map(({ version }) => version), [2, 1], 'newest first');
      const refreshed = (await api.post('/api/licenses/refresh', { token: signup.license.token })).expect(200);
      assert.equal(refreshed.version, 2);
      const valid = (await api.post('/api/licenses/validate', { token: refreshed.token })).expect(200);
      assert.equal(valid.valid, true);
      const invalid = (await api.post('/api/licenses/validate', { token: `${refreshed.token.slice(0, -4)}AAAA` })).expect(200);
      assert.equal(invalid.valid, false);
    });

    await t.test('one mail of welcome, one with the new license', async () => {
      const page = await eventually('two mails', async () => {
        const text = await mailbox(server);
        return countOf(text, 'mail-row') >= 2 && text;
      });
      assert.equal(countOf(page, 'mail-row'), 2);
      assert.ok(page.includes(SIGNUP.email));
      const mails = [];
      for (const link of mailLinks(page)) mails.push((await server.api.get(link)).text); // past the tap, like every answer
      assert.equal(mails.length, 2);
      assert.ok(mails.some((text) => /professional/i.test(text)), 'no mail speaks of the new plan');
    });

    await t.test('who has paid is not sold it again', async () => {
      const again = await api.post('/api/subscriptions/checkout', { customer_id: customerId, plan: 'professional', ...RETURN_URLS });
      again.refused(409, 'already_subscribed');
    });

    await t.test('a restart loses neither half', async () => {
      assert.deepEqual(await server.process.stop(), { code: 0, signal: null });
      const restarted = await startSandboxServer(t, database.env, {
        directory: server.directory, port: server.port, sandboxPort: sandbox.port,
      });
      const current = (await restarted.api.as(signup.token).get('/api/licenses/current')).expect(200);
      assert.equal(current.version, 2);
      await verifyLicense(restarted, current.token);
      const [[stripeId]] = database.rows(`select stripe_customer_id from customers where customer_id = '${customerId}'`);
      assert.equal((await restarted.sandbox.stripe.customers.retrieve(stripeId)).metadata.customer_id, customerId);
    });

    await t.test('the log holds no secret', () => {
      const secrets = [SIGNUP.password, signup.token, signup.license.token.split('.')[2]];
      for (const secret of secrets) assert.ok(!server.process.log.includes(secret), 'a secret stands in the log');
      assert.deepEqual(leaksIn(server.process.log).filter((leak) => /^(sk_|rk_|whsec_|\$argon|-----)/.test(leak)), []);
    });
  });
}

test('no answer, page or mail list held a provider id or a secret', () => assertTight());
