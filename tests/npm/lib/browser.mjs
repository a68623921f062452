// Headless Chromium as Debian ships it, and the eye that looks at each page: accessibility, layout, screenshots, the tap.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { guardPasswords } from './logs.mjs';
import { ROOT } from './processes.mjs';
import { watch } from './tap.mjs';

const EXECUTABLE = process.env.COUNTERFOIL_TEST_CHROMIUM ?? '/usr/bin/chromium';
// The browser must not look for anything outside; without these it does so at every start.
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];
const SCREENSHOTS = join(ROOT, 'target/screenshots');
const LOOKS = [[390, 'light'], [390, 'dark'], [1280, 'light'], [1280, 'dark']];
// Colors depend on the scheme and layout on the width, so two of the four looks show every violation.
const AUDITED = new Set(['390 light', '1280 dark']);
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function startBrowser(t) {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
  t?.after(() => browser.close());
  mkdirSync(SCREENSHOTS, { recursive: true });
  return browser;
}

/** A visitor with a browser profile of his own. What goes wrong silently in his browser is kept in `complaints`. */
export async function newVisitor(t, browser, server, { scripts = true } = {}) {
  const context = await browser.newContext({ baseURL: server.base, javaScriptEnabled: scripts, viewport: { width: 1280, height: 800 } });
  t?.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    // Chromium itself reports a page that answers 4xx as an error, though the test asked for that page.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(`console: ${message.text()}`);
  });
  context.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (request.method() === 'POST') guardPasswords(Object.fromEntries(new URLSearchParams(request.postData() ?? '')));
    if (protocol !== 'data:' && !['127.0.0.1', 'localhost'].includes(hostname)) complaints.push(`a request to ${hostname}`);
  });
  page.on('response', async (response) => {
    const type = response.headers()['content-type'] ?? '';
    if (!response.url().startsWith(server.base) || !/html|json|text/.test(type)) return;
    const address = new URL(response.url());
    watch(`${response.request().method()} ${address.pathname}`, `${address.pathname}${address.search}`);
    // A page that is left at once may take its body along.
    const text = await response.text().catch(() => null);
    if (text !== null) watch(address.pathname, text);
  });
  return { page, complaints };
}

/** Looks at the open page in both color schemes and at both widths: no serious violation, nothing cut off, four pictures. */
export async function inspect(page, name) {
  const problems = [];
  for (const [width, colorScheme] of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height: width < 500 ? 844 : 800 });
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    if (overflow > 0) problems.push(`${name} (${width}): ${overflow} pixels wider than the screen`);
    if (!AUDITED.has(`${width} ${colorScheme}`)) continue;
    problems.push(...(await violations(page)).map((text) => `${name} (${width}, ${colorScheme}): ${text}`));
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  const headings = await page.locator('h1').count();
  if (headings !== 1) problems.push(`${name}: ${headings} first-level headings`);
  if ((await page.title()).trim() === '') problems.push(`${name}: no title`);
  assert.deepEqual(problems, []);
}

async function violations(page) {
  // Evaluated, not added as a script tag: the pages' own content security policy would rightly refuse that.
  await page.evaluate(`if (!window.axe) { ${AXE} }`);
  const result = await page.evaluate('axe.run(document, { resultTypes: ["violations"] })');
  return result.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
}
