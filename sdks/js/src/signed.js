// Signed texts: licenses, status lists and key sets are compact JWS that differ in their type. The header may say which of our
// keys signed, and nothing else; the signature itself is checked by jose.

import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { Refused, decode, isInteger, isObject, parseObject } from './strict.js';

export const LICENSE = { typ: 'license+jwt', bytesMax: 16 * 1024 };
export const STATUS_LIST = { typ: 'statuslist+jwt', bytesMax: 1024 * 1024 };
export const KEY_SET = { typ: 'keyset+jwt', bytesMax: 64 * 1024 };

const KEYS_MAX = 32;
const ROOT_PREFIX = 'cfroot1:';
const FORBIDDEN = ['jku', 'jwk', 'x5u', 'x5c', 'x5t', 'x5t#S256', 'crit', 'b64', 'zip'];

// The field of Ed25519, and the y of its eight points of small order: with such a key or R, signatures fit many messages.
const P = 2n ** 255n - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const SMALL_Y = new Set([
  0n,
  1n,
  P - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n,
]);

/** Reads a signed text of this kind: its payload as bytes, and the key that signed it. */
export async function open(text, kind, keys) {
  if (typeof text !== 'string') throw new Refused('malformed');
  if (text.length > kind.bytesMax || new TextEncoder().encode(text).length > kind.bytesMax) throw new Refused('too_large');
  const parts = text.split('.');
  if (parts.length !== 3) throw new Refused('malformed');
  const [headerBytes, payload, signature] = parts.map(decode);
  const header = parseObject(headerBytes);
  if (FORBIDDEN.some((name) => name in header)) throw new Refused('forbidden_header');
  for (const name of ['alg', 'typ', 'kid']) {
    if (header[name] !== undefined && header[name] !== null && typeof header[name] !== 'string') throw new Refused('malformed');
  }
  if (header.alg !== 'EdDSA') throw new Refused('unsupported_algorithm');
  if ((header.typ ?? '').toLowerCase().replace(/^application\//, '') !== kind.typ) throw new Refused('wrong_type');
  const key = keys.find((candidate) => candidate.kid === header.kid);
  if (!key) throw new Refused('unknown_key');
  if (signature.length !== 64 || !isUsablePoint(signature.slice(0, 32))) throw new Refused('bad_signature');
  try {
    await compactVerify(text, await importJWK(key.jwk, 'EdDSA'), { algorithms: ['EdDSA'] });
  } catch {
    throw new Refused('bad_signature');
  }
  return { payload, key };
}

/** The keys of a plain JWKS (an object, or its text); all of them sign whenever they like. */
export async function keysOfJwks(jwks) {
  const text = typeof jwks === 'string' ? jwks : JSON.stringify(jwks);
  const bytes = new TextEncoder().encode(text ?? '');
  const set = asKeySet(() => parseObject(bytes));
  if (bytes.length > KEY_SET.bytesMax || !Array.isArray(set.keys)) throw new Refused('key_set_invalid');
  const keys = [];
  for (const jwk of set.keys) {
    const key = await keyOf(jwk);
    if (key && !keys.some((other) => other.kid === key.kid)) keys.push({ ...key, state: 'active' });
  }
  return counted(keys);
}

/** The key set that the pinned root has signed. */
export async function openKeySet(text, root, serialSeen) {
  const pinned = await rootKey(root);
  let payload;
  try {
    payload = parseObject((await open(text, KEY_SET, [pinned])).payload);
  } catch {
    throw new Refused('key_set_invalid');
  }
  const { iss, iat, exp, serial, keys: jwks } = payload;
  const complete = typeof iss === 'string' && isInteger(iat) && isInteger(exp) && isInteger(serial) && serial >= 0;
  if (!complete || !Array.isArray(jwks)) throw new Refused('key_set_invalid');
  if (serialSeen !== undefined && serial < serialSeen) throw new Refused('key_set_rollback');
  const keys = [];
  for (const jwk of jwks) {
    const key = await keyOf(jwk);
    if (!key) continue;
    const [nbf, expires] = [jwk.nbf ?? undefined, jwk.exp ?? undefined];
    const times = [nbf, expires].every((time) => time === undefined || isInteger(time));
    const known = ['active', 'retired', 'compromised'].includes(jwk.state);
    if (!times || !known || (jwk.state === 'retired' && expires === undefined) || keys.some((other) => other.kid === key.kid)) {
      throw new Refused('key_set_invalid');
    }
    keys.push({ ...key, state: jwk.state, nbf, exp: expires });
  }
  return { issuer: iss, issuedAt: iat, expiresAt: exp, serial, keys: counted(keys) };
}

/** Whether what says that it was issued then can be believed of this key. */
export function checkKey(key, issuedAt) {
  if (key.state === 'compromised') throw new Refused('key_compromised');
  if (key.nbf !== undefined && issuedAt < key.nbf) throw new Refused('key_not_active');
  if (key.exp !== undefined && issuedAt >= key.exp) throw new Refused('key_retired');
}

async function rootKey(root) {
  const x = typeof root === 'string' && root.startsWith(ROOT_PREFIX) ? root.slice(ROOT_PREFIX.length) : '';
  return keyOf({ kty: 'OKP', crv: 'Ed25519', x });
}

function counted(keys) {
  if (keys.length === 0 || keys.length > KEYS_MAX) throw new Refused('key_set_invalid');
  return keys;
}

function asKeySet(read) {
  try {
    return read();
  } catch {
    throw new Refused('key_set_invalid');
  }
}

/** A key that verifies; nothing for a key of another kind, and a refusal for a broken or private one. */
async function keyOf(jwk) {
  const absentOr = (name, ...wanted) => jwk[name] === undefined || wanted.includes(jwk[name]);
  const ours = isObject(jwk) && jwk.kty === 'OKP' && jwk.crv === 'Ed25519' && absentOr('alg', 'EdDSA', 'Ed25519') && absentOr('use', 'sig');
  if (!ours) return undefined;
  if (jwk.d !== undefined || typeof jwk.x !== 'string') throw new Refused('key_set_invalid');
  const bytes = asKeySet(() => decode(jwk.x));
  if (bytes.length !== 32 || !isUsablePoint(bytes) || !isPoint(bytes)) throw new Refused('key_set_invalid');
  const bare = { kty: 'OKP', crv: 'Ed25519', x: jwk.x };
  const kid = await calculateJwkThumbprint(bare);
  if (jwk.kid !== undefined && jwk.kid !== kid) throw new Refused('key_set_invalid');
  return { kid, jwk: bare };
}

function yOf(bytes) {
  const hex = [...bytes].reverse().map((byte) => byte.toString(16).padStart(2, '0'));
  return BigInt(`0x${hex.join('')}`) & (2n ** 255n - 1n);
}

function isUsablePoint(bytes) {
  const y = yOf(bytes);
  return y < P && !SMALL_Y.has(y);
}

/** Whether some x belongs to this y: (y² - 1) / (d·y² + 1) has to be a square. */
function isPoint(bytes) {
  const y = yOf(bytes);
  const [u, v] = [(y * y - 1n + P) % P, (D * y * y + 1n) % P];
  let [base, exponent, power] = [(u * v) % P, (P - 1n) / 2n, 1n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) power = (power * base) % P;
    base = (base * base) % P;
  }
  return power === 1n;
}
