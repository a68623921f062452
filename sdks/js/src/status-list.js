// The Token Status List (draft-ietf-oauth-status-list) with two bits for each license.

import { Refused, decode, isInteger, isObject, parseObject } from './strict.js';
import { STATUS_LIST, checkKey, open } from './signed.js';

const BYTES_MAX = (1024 * 1024) / 4;
const STATUSES = ['valid', 'invalid', 'suspended', 'superseded'];

/** Reads a status list and proves that a trusted key has signed it. */
export async function openStatusList(text, keys) {
  try {
    const { payload, key } = await open(text, STATUS_LIST, keys);
    const { sub, iat, exp, ttl, status_list: list } = parseObject(payload);
    const complete = typeof sub === 'string' && isInteger(iat) && isInteger(exp) && (ttl == null || (isInteger(ttl) && ttl >= 0));
    if (!complete || !isObject(list) || list.bits !== 2 || typeof list.lst !== 'string') throw new Refused('malformed');
    checkKey(key, iat);
    return { uri: sub, issuedAt: iat, expiresAt: exp, bytes: await inflate(decode(list.lst)) };
  } catch {
    throw new Refused('status_list_invalid');
  }
}

/** The entry; nothing where the list does not reach so far. */
export function statusAt(list, idx) {
  const byte = list.bytes[Math.floor(idx / 4)];
  return byte === undefined ? undefined : STATUSES[(byte >> ((idx % 4) * 2)) & 3];
}

/** Inflates, and gives up at the limit, so that a small text cannot fill the memory. */
async function inflate(packed) {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > BYTES_MAX) {
      await reader.cancel();
      throw new Refused('status_list_invalid');
    }
    chunks.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
