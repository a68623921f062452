// Strict base64url and strict JSON: two readers of one token must never see different things. So each value has one text, and
// an object that names a member twice is refused at any depth.

import { base64url } from 'jose';

const NESTING_MAX = 127;

/** Why something is refused: a stable word. */
export class Refused extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** The bytes of a base64url text without padding and without stray bits. */
export function decode(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Refused('malformed');
  const bytes = base64url.decode(text);
  if (base64url.encode(bytes) !== text) throw new Refused('malformed');
  return bytes;
}

/** The JSON object in these bytes. */
export function parseObject(bytes) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // The grammar is the engine's business; the walk below only has to look at what the engine lets pass.
    JSON.parse(text);
  } catch {
    throw new Refused('malformed');
  }
  const value = new Walk(text).value(0);
  if (!isObject(value)) throw new Refused('malformed');
  return value;
}

export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Number);
}

export function isInteger(value) {
  return Number.isSafeInteger(value);
}

/** Walks through JSON that is known to be well formed. */
class Walk {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  value(depth) {
    if (depth > NESTING_MAX) throw new Refused('malformed');
    this.space();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.list(depth);
      case '"':
        return this.string();
      default:
        return this.word();
    }
  }

  object(depth) {
    const found = Object.create(null);
    this.at += 1;
    while (this.more('}')) {
      const name = this.string();
      this.space();
      this.at += 1; // the colon
      const value = this.value(depth + 1);
      if (name in found) throw new Refused('malformed');
      found[name] = value;
    }
    return found;
  }

  list(depth) {
    const found = [];
    this.at += 1;
    while (this.more(']')) found.push(this.value(depth + 1));
    return found;
  }

  /** Steps over commas to the next entry, or over the end. */
  more(end) {
    this.space();
    if (this.text[this.at] === ',') this.at += 1;
    this.space();
    if (this.text[this.at] !== end) return true;
    this.at += 1;
    return false;
  }

  string() {
    const start = this.at;
    this.at += 1;
    while (this.text[this.at] !== '"') this.at += this.text[this.at] === '\\' ? 2 : 1;
    this.at += 1;
    const value = JSON.parse(this.text.slice(start, this.at));
    if (!value.isWellFormed()) throw new Refused('malformed');
    return value;
  }

  word() {
    const literal = /[^\s,\]}]*/y;
    literal.lastIndex = this.at;
    const [text] = literal.exec(this.text);
    this.at += text.length;
    const value = JSON.parse(text);
    // 1.0 is no whole number here, as in the other languages; as an object it passes no check for one.
    return typeof value === 'number' && /[.eE]/.test(text) ? Object(value) : value;
  }

  space() {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at += 1;
  }
}
