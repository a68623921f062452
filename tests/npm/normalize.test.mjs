// The README runner's own rules, on a small README.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blocksOf, difference, normalize, withRealNames } from './lib/readme.mjs';

const CUSTOMER = `cust_${'0a'.repeat(16)}`;
const OTHER = `cust_${'1b'.repeat(16)}`;

const README = `
Start it:

<!-- test: start -->
\`\`\`console
$ cargo run
\`\`\`

<!-- test: sign-up -->

\`\`\`console
$ curl -s localhost:3100/api/customers/signup \\
    -d '{"email":"a@example.com"}'
{"customer":{"customer_id":"${CUSTOMER}","created_at":"2026-01-02T03:04:05Z"}}
$ curl -s localhost:3100/livez
ok
\`\`\`

Some words between.
\`\`\`sh
docker exec something
\`\`\`

<!-- test: none because it is an example of another language -->
\`\`\`sh
export A=1
echo $A
\`\`\`

\`\`\`rust
fn not_a_command() {}
\`\`\`
`;

describe('blocks', () => {
  const blocks = blocksOf(README);

  test('each block has its name, or none', () => {
    assert.deepEqual(blocks.map(({ name, kind }) => [name, kind]), [
      ['start', 'console'], ['sign-up', 'console'], [null, 'sh'], ['none because it is an example of another language', 'sh'],
    ]);
  });

  test('commands go on after a backslash, and own the lines after them', () => {
    const [signup, livez] = blocks[1].commands;
    assert.equal(signup.command, `curl -s localhost:3100/api/customers/signup \\\n    -d '{"email":"a@example.com"}'`);
    assert.equal(signup.output.length, 1);
    assert.deepEqual(livez, { command: 'curl -s localhost:3100/livez', output: ['ok'] });
  });

  test('a block of sh is one command', () => {
    assert.deepEqual(blocks[3].commands, [{ command: 'export A=1\necho $A', output: null }]);
  });

  test('a block without an end is an error', () => {
    assert.throws(() => blocksOf('```sh\necho'), /has no end/);
  });
});

describe('comparison', () => {
  const shown = `{"customer_id":"${CUSTOMER}","at":"2026-01-02T03:04:05.123456Z","plan":"trial"}`;

  test('ids, times, tokens and payment pages are of a kind', () => {
    const text = `${CUSTOMER} 2026-01-02T03:04:05Z eyJh.eyJz.c2ln http://127.0.0.1:3101/c/pay/cs_test_a1b2C3 lic_${'c'.repeat(32)}`;
    assert.equal(
      normalize(text),
      '<customer id> <time> <license token> http://127.0.0.1:3101/c/pay/<payment session> <license id>',
    );
  });

  test('another id is the same answer, laid out otherwise too', () => {
    const came = `{\n "customer_id": "${OTHER}",\n "at": "2027-05-06T07:08:09Z", "plan": "trial"}`;
    assert.equal(difference(shown, came), null);
  });

  test('another plan, another key, another kind are not', () => {
    assert.match(difference(shown, shown.replace('trial', 'starter')), /but it was/);
    assert.match(difference(shown, shown.replace('"plan"', '"plans"')), /but it was/);
    assert.match(difference(shown, shown.replace(CUSTOMER, 'somebody')), /but it was/);
    assert.match(difference(shown, ''), /but it was/);
  });

  test('an ellipsis stands for anything', () => {
    assert.equal(difference('{"token":"eyJhbGciOi…","n":1}', '{"token":"eyJhbGciOi.abc.def","n":1}'), null);
    assert.equal(difference('first\n…\nlast', 'first\na\nb\nlast'), null);
    assert.match(difference('first\n…\nlast', 'first\na'), /but it was/);
  });

  test('later commands use the real names', () => {
    const names = new Map();
    difference(shown, shown.replace(CUSTOMER, OTHER), names);
    assert.equal(withRealNames(`curl -d '{"customer_id":"${CUSTOMER}"}'`, names), `curl -d '{"customer_id":"${OTHER}"}'`);
  });
});
