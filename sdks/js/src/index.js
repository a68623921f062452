// Verifies Counterfoil licenses offline. Every input has an answer: a state, a code, and what the product may do.
//
// Several states can be true at once. The answer is the first one of: invalid, clock_behind, revoked, expired, not_yet_valid,
// suspended, superseded, in_grace, refresh_due, valid.

import { Refused, isInteger, isObject, parseObject } from './strict.js';
import { LICENSE, checkKey, keysOfJwks, open, openKeySet } from './signed.js';
import { openStatusList, statusAt } from './status-list.js';

export { parseFile } from './file.js';

const DAY = 24 * 60 * 60;
const ENTITLED = ['valid', 'refresh_due', 'in_grace', 'superseded'];
const REFRESH = ['refresh_due', 'in_grace', 'superseded', 'suspended', 'expired', 'revoked'];
const isText = (value) => typeof value === 'string';
const CLAIMS = {
  iss: isText,
  sub: isText,
  customer_id: isText,
  aud: isText,
  iat: isInteger,
  nbf: isInteger,
  exp: isInteger,
  jti: isText,
  ver: isInteger,
  plan: isText,
  status: isText,
  trial: (value) => typeof value === 'boolean',
  features: (value) => Array.isArray(value) && value.every(isText),
  limits: (value) => isObject(value) && Object.values(value).every(isInteger),
  paid_until: isInteger,
  grace_until: isInteger,
  refresh_after: isInteger,
};

/** What a license is worth. It does not throw for any license; a call with a mistake in it is a TypeError. */
export async function verify(options) {
  const { token, jwks, root, keySet, serialSeen, issuer, audience, statusList } = options;
  if (!isText(issuer) || !isText(audience)) throw new TypeError('verify needs issuer and audience');
  if ((jwks === undefined) === (root === undefined)) throw new TypeError('verify needs either jwks, or root and keySet');
  let claims = null;
  try {
    const rooted = root === undefined ? undefined : await openKeySet(keySet, root, serialSeen);
    const keys = rooted ? rooted.keys : await keysOfJwks(jwks);
    const list = statusList == null ? undefined : await openStatusList(statusList, keys);
    claims = await authenticate(token, keys);
    return answer(judge(claims, { ...options, now: options.now ?? Math.floor(Date.now() / 1000) }, rooted, list), claims);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return answer('invalid', claims, error.code);
  }
}

function answer(state, claims, code = state) {
  const entitled = ENTITLED.includes(state);
  const rights = entitled ? claims : null;
  return {
    state,
    code,
    entitled,
    shouldRefresh: REFRESH.includes(state),
    features: rights ? rights.features : [],
    limits: rights ? { ...rights.limits } : {},
    plan: rights ? rights.plan : null,
    claims,
  };
}

async function authenticate(token, keys) {
  const { payload, key } = await open(token, LICENSE, keys);
  if (key.state === 'compromised') throw new Refused('key_compromised');
  const claims = parseObject(payload);
  for (const name of Object.keys(CLAIMS)) {
    if (!(name in claims)) throw new Refused('missing_claim');
  }
  const place = claims.status_list;
  const placed = !('status_list' in claims) || (isObject(place) && isInteger(place.idx) && place.idx >= 0 && isText(place.uri));
  if (!placed || !Object.entries(CLAIMS).every(([name, fits]) => fits(claims[name]))) throw new Refused('malformed');
  checkKey(key, claims.iat);
  return claims;
}

function judge(claims, options, rooted, list) {
  const now = Math.max(options.now, options.highestTimeSeen ?? options.now);
  accept(claims, options, rooted, now);
  const status = statusOf(claims, options, list, now);
  const skew = Math.max(0, options.clockSkew ?? DAY);
  const passed = [claims.iat, options.highestTimeSeen, rooted?.issuedAt, list?.issuedAt];
  if (passed.some((time) => time !== undefined && time > options.now + skew)) return 'clock_behind';
  if (status === 'invalid') return 'revoked';
  if (now >= claims.exp) return 'expired';
  if (now < claims.nbf) return 'not_yet_valid';
  if (status !== 'valid') return status;
  if (now >= claims.paid_until) return 'in_grace';
  return now >= claims.refresh_after ? 'refresh_due' : 'valid';
}

function accept(claims, { issuer, audience }, rooted, now) {
  if (claims.sub !== claims.customer_id || claims.exp <= claims.iat) throw new Refused('invalid_claim');
  if (claims.iss !== issuer) throw new Refused('wrong_issuer');
  if (claims.aud !== audience) throw new Refused('wrong_audience');
  if (rooted && rooted.issuer !== issuer) throw new Refused('key_set_invalid');
  if (rooted && now >= rooted.expiresAt) throw new Refused('key_set_expired');
}

/** An expired list still counts where it speaks against the license: revocation is for good. */
function statusOf(claims, { statusListRequired }, list, now) {
  const place = claims.status_list;
  if (!place) return 'valid';
  if (list?.uri !== place.uri) {
    if (statusListRequired) throw new Refused('status_list_missing');
    return 'valid';
  }
  const status = statusAt(list, place.idx);
  if (status === undefined) throw new Refused('status_index_out_of_range');
  if (statusListRequired && now >= list.expiresAt && status !== 'invalid') throw new Refused('status_list_expired');
  return status;
}
