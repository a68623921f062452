// A person with a browser: from the home page to a paid license, and the ways that do not lead there.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect, newVisitor, startBrowser } from './lib/browser.mjs';
import { verifyLicense } from './lib/license.mjs';
import { eventually } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';
import { assertTight } from './lib/tap.mjs';

const PASSWORD = 'SecurePass123';
// Longer than a telephone is wide.
const LONG_ADDRESS = 'somebody.who.likes.long.addresses.and.has.one@department.of.long.names.example.com';

let server;
let browser;
const endings = [];

before(async () => {
  const t = { after: (end) => endings.push(end) };
  server = await startSandboxServer(t);
  browser = await startBrowser(t);
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

async function signUp(page, email) {
  await page.goto('/signup');
  await page.fill('#signup-form [name=email]', email);
  await page.fill('#signup-form [name=password]', PASSWORD);
  await page.fill('#signup-form [name=company_name]', 'Test Corp');
  await page.click('#signup-form [type=submit]');
  await page.waitForURL('**/account');
}

async function goToPayment(page) {
  await page.goto('/account');
  await page.click('#upgrade');
  await page.click('#buy-professional-month');
  await page.waitForURL((url) => url.port === String(server.sandbox.port));
}

async function pay(page, card) {
  await page.check(`input[name=card][value=${card}]`);
  await page.click('#pay');
}

async function shownLicense(page) {
  await page.goto('/account/license');
  return { plan: (await page.textContent('#license-plan')).trim(), token: await page.inputValue('#license-token') };
}

test('from the home page to a paid license, then the mail', { timeout: 180_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);

  await t.test('the public pages', async () => {
    await page.goto('/');
    await inspect(page, 'home');
    await page.goto('/login');
    await inspect(page, 'login');
    await page.goto('/signup');
    await inspect(page, 'signup');
    await page.goto('/verify');
    await inspect(page, 'verify');
    const missing = await page.goto('/no/such/page');
    assert.equal(missing.status(), 404);
    await inspect(page, 'not-found');
  });

  await t.test('sign-up leads to the overview', async () => {
    await signUp(page, 'ada@example.com');
    await inspect(page, 'account-trial');
    const { plan, token } = await shownLicense(page);
    assert.match(plan, /trial/i);
    assert.equal((await verifyLicense(server, token)).claims.plan, 'trial');
    await inspect(page, 'license-trial');
    await page.goto('/verify');
    await page.fill('#license', token);
    await page.click('#verify-submit');
    assert.equal(await page.getAttribute('#answer', 'data-code'), 'valid');
    assert.equal(new URL(page.url()).search, '', 'the license is not in the address');
    await inspect(page, 'verify-valid');
  });

  await t.test('upgrade leads to the payment page', async () => {
    await page.goto('/account');
    await page.click('#upgrade');
    await page.waitForSelector('#buy-professional-month');
    await inspect(page, 'upgrade');
    await page.click('#buy-professional-month');
    await page.waitForURL((url) => url.port === String(server.sandbox.port));
    await inspect(page, 'sandbox-checkout');
  });

  await t.test('payment leads back to a page that shows it once it is there', async () => {
    await pay(page, 'success');
    await page.waitForURL((url) => url.port === String(server.port));
    await page.waitForSelector('#payment-done', { timeout: 20_000 });
    await inspect(page, 'payment-done');
  });

  await t.test('the license is professional, and a standard library verifies it', async () => {
    const { plan, token } = await shownLicense(page);
    assert.match(plan, /professional/i);
    const { claims } = await verifyLicense(server, token);
    assert.equal(claims.plan, 'professional');
    assert.equal(claims.ver, 2);
    await inspect(page, 'license-professional');
    await page.goto('/account');
    await inspect(page, 'account-professional');
  });

  await t.test('the mail with the new license is in the mailbox', async () => {
    await page.goto('/sandbox/mailbox');
    await eventually('two mails', async () => (await page.reload()) && (await page.locator('.mail-row').count()) >= 2);
    assert.equal(await page.locator('.mail-row').count(), 2);
    await inspect(page, 'mailbox');
    const links = await page.locator('.mail-link').evaluateAll((all) => all.map((link) => link.href));
    const bodies = [];
    for (const link of links) {
      await page.goto(link);
      bodies.push(await page.textContent('body'));
    }
    assert.ok(bodies.some((text) => /professional/i.test(text)), 'no mail speaks of the new plan');
    await inspect(page, 'mail');
  });

  await t.test('logging out closes the account', async () => {
    await page.goto('/account');
    await page.click('#logout');
    await page.waitForURL((url) => !url.pathname.startsWith('/account'));
    await page.goto('/account');
    assert.equal(new URL(page.url()).pathname, '/login');
    await page.fill('#login-form [name=email]', 'ada@example.com');
    await page.fill('#login-form [name=password]', 'NotThePassword1');
    await page.click('#login-form [type=submit]');
    await page.waitForSelector('#login-form');
    await inspect(page, 'login-refused');
    await page.fill('#login-form [name=email]', 'ada@example.com');
    await page.fill('#login-form [name=password]', PASSWORD);
    await page.click('#login-form [type=submit]');
    await page.waitForURL('**/account');
  });

  assert.deepEqual(complaints, []);
});

test('a declined card changes nothing, and the next card pays', { timeout: 90_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, LONG_ADDRESS);
  await goToPayment(page);
  await pay(page, 'declined');
  await page.waitForSelector('#pay');
  assert.match(await page.textContent('body'), /declined/i);
  await inspect(page, 'sandbox-declined');
  const declined = page.url();
  assert.match((await shownLicense(page)).plan, /trial/i);
  await page.goto(declined);
  await pay(page, 'success');
  await page.waitForSelector('#payment-done', { timeout: 20_000 });
  assert.match((await shownLicense(page)).plan, /professional/i);
  assert.deepEqual(complaints, []);
});

test('a bank that asks back: failed first, then completed', { timeout: 90_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'eve@example.com');
  await goToPayment(page);
  await pay(page, 'authentication');
  await page.waitForSelector('#complete');
  await inspect(page, 'sandbox-authentication');
  await page.click('#fail');
  await page.waitForSelector('#pay');
  await pay(page, 'authentication');
  await page.click('#complete');
  await page.waitForSelector('#payment-done', { timeout: 20_000 });
  assert.match((await shownLicense(page)).plan, /professional/i);
  assert.deepEqual(complaints, []);
});

test('canceling leads back, and the return page never claims success early', { timeout: 90_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'joe@example.com');
  await goToPayment(page);
  const { data: [session] } = await server.sandbox.stripe.checkout.sessions.list({ limit: 1 });
  assert.equal(session.status, 'open');
  assert.doesNotMatch(session.success_url, /CHECKOUT_SESSION_ID|cs_/, 'our own pages never carry a provider id');
  await page.goto(session.success_url);
  assert.equal(await page.locator('#payment-done').count(), 0);
  await page.waitForSelector('#payment-waiting');
  // The page asks again by itself: the pictures are of whichever round is on the screen.
  await inspect(page, 'payment-waiting').catch((error) => {
    if (!/Execution context was destroyed|navigat/i.test(error.message)) throw error;
  });
  await page.goto(session.url);
  await page.click('#cancel');
  await page.waitForURL((url) => url.port === String(server.port));
  assert.match((await shownLicense(page)).plan, /trial/i);
  assert.deepEqual(complaints, []);
});

test('everything works without scripts', { timeout: 90_000 }, async (t) => {
  const { page } = await newVisitor(t, browser, server, { scripts: false });
  await signUp(page, 'kim@example.com');
  await goToPayment(page);
  await pay(page, 'success');
  await page.waitForSelector('#payment-done', { timeout: 30_000 });
  assert.match((await shownLicense(page)).plan, /professional/i);
});

test('an account that exists is refused in words, beside the form', { timeout: 60_000 }, async (t) => {
  const { page } = await newVisitor(t, browser, server);
  await signUp(page, 'twice@example.com');
  await page.context().clearCookies();
  await page.goto('/signup');
  await page.fill('#signup-form [name=email]', 'twice@example.com');
  await page.fill('#signup-form [name=password]', PASSWORD);
  await page.click('#signup-form [type=submit]');
  await page.waitForSelector('#signup-form');
  assert.equal(await page.inputValue('#signup-form [name=email]'), 'twice@example.com', 'what was typed is kept');
  await inspect(page, 'signup-refused');
});

test('no page held a provider id or a secret', () => assertTight());
