// The armour of `.lic` files and bundles: PEM-like blocks with comment lines for people, as mail programs leave them.

import { Refused } from './strict.js';

const BYTES_MAX = 2 * 1024 * 1024;
const BLOCKS = { LICENSE: 'license', 'KEY SET': 'keySet', 'STATUS LIST': 'statusList' };

/** Reads a license file, a bundle, or a bare token. Nothing is verified. */
export function parseFile(text) {
  if (typeof text !== 'string' || new TextEncoder().encode(text).length > BYTES_MAX) throw new Refused('file_too_large');
  const found = {};
  let block;
  let body = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/).map((line) => line.replace(/^[> \t]+|[ \t]+$/g, ''));
  if (!lines.some((line) => line.startsWith('-----BEGIN '))) return { license: joined(lines.filter((line) => line !== '')) };
  for (const line of lines) {
    const [, edge, name] = /^-----(BEGIN|END) COUNTERFOIL ([A-Z ]+)-----$/.exec(line) ?? [];
    if (edge === 'BEGIN') {
      if (block) throw new Refused('file_malformed');
      [block, body] = [name, []];
    } else if (edge === 'END') {
      if (block !== name) throw new Refused('file_malformed');
      const member = BLOCKS[name];
      if (member in found) throw new Refused('file_malformed');
      if (member) found[member] = joined(body);
      block = undefined;
    } else if (block && line !== '' && !line.includes(':')) {
      body.push(line);
    }
  }
  if (block || !found.license) throw new Refused('file_malformed');
  return found;
}

/** The text itself; a `=` at the end of a line is what quoted-printable mail puts at a break. */
function joined(lines) {
  const parts = lines.map((line) => line.replace(/=$/, ''));
  if (parts.length === 0 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part))) throw new Refused('file_malformed');
  return parts.join('');
}
