// The tap: whatever an end user gets to see passes here and must hold no provider id and no secret (invariant 1).
// The one exception is the address of the payment page, which names its session.

const PROVIDER_ID =
  /\b(?:cus|sub|si|cs_test|cs_live|in|ii|il|pi|pm|ch|py|evt|seti|price|prod|re|req|we|bps|src|tok|acct|inpay|txn)_[A-Za-z0-9]{8,}/g;
const SECRET = /\b(?:sk_test_(?!sandbox\b)\w+|sk_live_\w+|rk_test_\w+|rk_live_\w+|whsec_\w+)|\$argon2id?\$|-----BEGIN/g;
const PAYMENT_ADDRESS = /https?:\/\/(?:127\.0\.0\.1|localhost):\d+\/(?:c\/pay|p\/session|billing|portal)\/[A-Za-z0-9_%#-]+/g;

const seen = { count: 0, leaks: [] };

export function leaksIn(text) {
  const visible = text.replaceAll(PAYMENT_ADDRESS, '');
  return [...(visible.match(PROVIDER_ID) ?? []), ...(visible.match(SECRET) ?? [])];
}

/** Records what an end user saw; `assertTight` at the end of a file reports it. */
export function watch(where, answer) {
  seen.count += 1;
  const headers = answer.headers ? [...answer.headers].map(([name, value]) => `${name}: ${value}`).join('\n') : '';
  for (const leak of leaksIn(`${headers}\n${answer.text ?? answer}`)) seen.leaks.push(`${where}: ${leak.slice(0, 16)}…`);
}

export function assertTight() {
  if (seen.count === 0) throw new Error('the tap saw nothing');
  if (seen.leaks.length > 0) throw new Error(`an end user saw provider ids or secrets:\n${seen.leaks.join('\n')}`);
}
