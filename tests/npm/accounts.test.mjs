// A person with a browser and a mailbox: the pages about the account itself, and what the links in mails lead to.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect, newVisitor, startBrowser } from './lib/browser.mjs';
import { eventually } from './lib/processes.mjs';
import { startSandboxServer } from './lib/servers.mjs';
import { assertTight } from './lib/tap.mjs';

const PASSWORD = 'SecurePass123';

let server;
let browser;
const endings = [];

before(async () => {
  const t = { after: (end) => endings.push(end) };
  server = await startSandboxServer(t, { COUNTERFOIL_EMAIL_VERIFICATION: 'required' });
  browser = await startBrowser(t);
});
after(async () => {
  for (const end of endings.reverse()) await end();
});

async function signUp(page, email) {
  await page.goto('/signup');
  await page.fill('#signup-form [name=email]', email);
  await page.fill('#signup-form [name=password]', PASSWORD);
  await page.click('#signup-form [type=submit]');
  await page.waitForURL('**/account');
}

async function logIn(page, email, password) {
  await page.goto('/login');
  await page.fill('#login-form [name=email]', email);
  await page.fill('#login-form [name=password]', password);
  await page.click('#login-form [type=submit]');
  await page.waitForURL('**/account');
}

/** Every link to this page of ours in the mails to this address, the newest first. */
async function links(page, email, path) {
  await page.goto('/sandbox/mailbox');
  const rows = page.locator('.mail-row').filter({ has: page.locator('.mail-to', { hasText: email }) });
  const mails = await rows.locator('.mail-link').evaluateAll((all) => all.map((link) => link.href));
  const found = [];
  for (const mail of mails) {
    await page.goto(mail);
    const links = await page.locator('#mail-body a').evaluateAll((all) => all.map((link) => link.href));
    found.push(...links.filter((link) => new URL(link).pathname === path && link.includes('?token=')));
  }
  return found;
}

/** Opens the newest link. The token is out of the address at once. */
async function openLink(page, email, path, { count = 1 } = {}) {
  let found = [];
  await eventually(`a mail that leads to ${path}`, async () => (found = await links(page, email, path)).length >= count);
  await page.goto(found[0]);
  assert.equal(page.url(), `${server.base}${path}`, 'the token has left the address');
  return found[0];
}

/** Sends what the browser itself would not let through, as a program could. */
async function sendAnyway(page, form, fields) {
  await page.$eval(form, (element) => { element.noValidate = true; });
  for (const [name, value] of Object.entries(fields)) await page.fill(`${form} [name=${name}]`, value);
  await page.click(`${form} [type=submit]`);
}

test('an address is confirmed, and the license comes', { timeout: 120_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'ada@example.com');
  await page.waitForSelector('#unverified');
  await inspect(page, 'account-unverified');
  assert.equal((await page.goto('/account/license')).status(), 403);
  await inspect(page, 'license-unverified');
  await page.click('#question-submit');
  await page.waitForURL('**/account/settings?done=verify');
  assert.match(await page.textContent('#email-state'), /not confirmed/);
  await inspect(page, 'settings-unverified');
  const link = await openLink(page, 'ada@example.com', '/email/verify', { count: 2 });
  await inspect(page, 'email-verify');
  await page.click('#question-submit');
  await page.waitForSelector('#said');
  await inspect(page, 'email-verified');
  await page.click('#go-on');
  await page.waitForSelector('#license-token');
  await page.goto('/account');
  assert.equal(await page.locator('#unverified').count(), 0);
  await page.goto('/account/settings');
  assert.match(await page.textContent('#email-state'), /confirmed on/);
  await inspect(page, 'settings');
  assert.equal((await page.goto(link)).status(), 422);
  assert.match(await page.textContent('h1'), /does not work any more/);
  await inspect(page, 'link-spent');
  assert.deepEqual(complaints, []);
});

test('a new address: objected to from the old mailbox, then confirmed from the new one', { timeout: 120_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'bob@example.com');
  await page.goto('/account/settings');
  await sendAnyway(page, '#email-form', { new_email: 'nonsense', current_password: PASSWORD });
  await page.waitForSelector('#new_email-error');
  await inspect(page, 'settings-email-refused');
  await sendAnyway(page, '#email-form', { new_email: 'bob.new@example.com', current_password: 'NotThePassword1' });
  await page.waitForSelector('#email_password-error');
  assert.equal(await page.inputValue('#new_email'), 'bob.new@example.com', 'what was typed is kept');
  await sendAnyway(page, '#email-form', { new_email: 'bob.new@example.com', current_password: PASSWORD });
  await page.waitForURL('**/account/settings?done=email');
  await inspect(page, 'settings-email-asked');
  await openLink(page, 'bob@example.com', '/email/object');
  await inspect(page, 'email-object');
  await page.click('#question-submit');
  await page.waitForSelector('#said');
  assert.equal(await page.locator('#logout').count(), 0, 'nobody is logged in any more');
  await inspect(page, 'email-objected');
  await page.goto('/account');
  assert.equal(new URL(page.url()).pathname, '/login', 'everybody is logged out');

  await logIn(page, 'bob@example.com', PASSWORD);
  await page.goto('/account/settings');
  await sendAnyway(page, '#email-form', { new_email: 'bob.new@example.com', current_password: PASSWORD });
  await page.waitForURL('**/account/settings?done=email');
  await openLink(page, 'bob.new@example.com', '/email/confirm', { count: 2 });
  await inspect(page, 'email-confirm');
  await page.click('#question-submit');
  await page.waitForSelector('#said');
  await inspect(page, 'email-confirmed');
  await page.goto('/account/license');
  await page.waitForSelector('#license-token');
  assert.deepEqual(complaints, []);
});

test('a password: changed, forgotten and reset', { timeout: 120_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'eve@example.com');
  await page.goto('/account/settings');
  await sendAnyway(page, '#password-form', { current_password: 'NotThePassword1', new_password: 'AnotherPass456' });
  await page.waitForSelector('#current_password-error');
  await inspect(page, 'settings-password-refused');
  await sendAnyway(page, '#password-form', { current_password: PASSWORD, new_password: 'AnotherPass456' });
  await page.waitForURL('**/account/settings?done=password');
  await inspect(page, 'settings-password-changed');
  await page.context().clearCookies();

  await page.goto('/password/forgot');
  await inspect(page, 'forgot');
  await sendAnyway(page, '#forgot-form', { email: 'nonsense' });
  await page.waitForSelector('#email-error');
  await inspect(page, 'forgot-refused');
  await sendAnyway(page, '#forgot-form', { email: 'eve@example.com' });
  await page.waitForSelector('#said');
  await inspect(page, 'forgot-sent');
  await openLink(page, 'eve@example.com', '/password/reset');
  await inspect(page, 'reset');
  await sendAnyway(page, '#reset-form', { new_password: 'short' });
  await page.waitForSelector('#new_password-error');
  await inspect(page, 'reset-refused');
  await sendAnyway(page, '#reset-form', { new_password: 'YetAnotherPass789' });
  await page.waitForSelector('#said');
  await inspect(page, 'reset-done');
  await logIn(page, 'eve@example.com', 'YetAnotherPass789');
  assert.equal(await page.locator('#unverified').count(), 0, 'whoever has the link has the mailbox');
  assert.deepEqual(complaints, []);
});

test('the links work without scripts', { timeout: 60_000 }, async (t) => {
  const { page } = await newVisitor(t, browser, server, { scripts: false });
  await signUp(page, 'kim@example.com');
  await page.click('#verify-resend');
  await page.waitForURL('**/account/settings?done=verify');
  await openLink(page, 'kim@example.com', '/email/verify', { count: 2 });
  await page.click('#question-submit');
  await page.waitForSelector('#said');
  await page.goto('/account/license');
  await page.waitForSelector('#license-token');
});

test('where one is logged in is seen, and ended from another device', { timeout: 90_000 }, async (t) => {
  const { page, complaints } = await newVisitor(t, browser, server);
  await signUp(page, 'two-devices@example.com');
  const phone = await newVisitor(t, browser, server);
  await logIn(phone.page, 'two-devices@example.com', PASSWORD);
  await page.goto('/account/settings');
  assert.equal(await page.locator('#sessions li').count(), 2);
  assert.match(await page.textContent('#sessions li >> nth=0'), /Chrome on Linux · this one/);
  await inspect(page, 'settings-sessions');
  await page.click('#sessions li >> nth=1 >> text=Log out');
  await page.waitForURL('**/account/settings#sessions');
  assert.equal(await page.locator('#sessions li').count(), 1);
  await phone.page.goto('/account');
  assert.equal(new URL(phone.page.url()).pathname, '/login');
  await logIn(phone.page, 'two-devices@example.com', PASSWORD);
  await page.goto('/account/settings');
  await page.click('#end-others');
  await page.waitForURL('**/account/settings?done=sessions#sessions');
  await phone.page.goto('/account');
  assert.equal(new URL(phone.page.url()).pathname, '/login');
  assert.deepEqual([complaints, phone.complaints], [[], []]);
});

test('no page held a provider id or a secret', () => assertTight());
