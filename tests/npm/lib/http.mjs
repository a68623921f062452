// A small HTTP client for our own API. Every answer it sees goes through the tap.

import { guardPasswords } from './logs.mjs';
import { watch } from './tap.mjs';

export class Answer {
  constructor(status, headers, text) {
    this.status = status;
    this.headers = headers;
    this.text = text;
  }

  get json() {
    return JSON.parse(this.text);
  }

  /** Fails with the whole answer, which says more than "400 is not 200". */
  expect(status) {
    if (this.status !== status) throw new Error(`expected ${status}, got ${this.status}: ${this.text}`);
    return this.text === '' ? null : this.json;
  }

  /** A refusal: RFC 9457, with the stable code and a sentence for a person. */
  refused(status, code) {
    const problem = this.expect(status);
    const type = this.headers.get('content-type') ?? '';
    if (!type.startsWith('application/problem+json')) throw new Error(`a refusal of type ${type}: ${this.text}`);
    if (code !== undefined && problem.code !== code) throw new Error(`expected code ${code}: ${this.text}`);
    if (!/\S+ \S+/.test(problem.detail ?? problem.title ?? '')) throw new Error(`no helpful sentence: ${this.text}`);
    return problem;
  }
}

export class Api {
  constructor(base, { token, cookie } = {}) {
    this.base = base;
    this.token = token;
    this.cookie = cookie;
  }

  as(token) {
    return new Api(this.base, { token });
  }

  async send(method, path, { json, body, headers = {}, audience = 'customer' } = {}) {
    const all = { ...headers };
    if (this.token) all.authorization = `Bearer ${this.token}`;
    if (json !== undefined) all['content-type'] = 'application/json';
    guardPasswords(json);
    const response = await fetch(new URL(path, this.base), {
      method,
      headers: all,
      body: json === undefined ? body : JSON.stringify(json),
      redirect: 'manual',
      signal: AbortSignal.timeout(30_000),
    });
    const answer = new Answer(response.status, response.headers, await response.text());
    if (audience === 'customer') watch(`${method} ${path}`, answer);
    return answer;
  }

  get(path, options) {
    return this.send('GET', path, options);
  }

  post(path, json, options) {
    return this.send('POST', path, { json, ...options });
  }
}
