// A proxy between our server and the sandbox that can be told to act at the worst moment: after Stripe has done the work, before
// our server hears of it.

import { createServer, request as httpRequest } from 'node:http';

/** `onAnswer({method, path, status, body})` runs before the answer is passed on; answering 'drop' cuts the line instead. */
export async function startProxy(t, target, onAnswer = () => {}) {
  const { hostname, port } = new URL(target);
  const proxy = createServer((incoming, outgoing) => {
    const onward = httpRequest({ hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const verdict = await onAnswer({ method: incoming.method, path: incoming.url, status: answer.statusCode, body: body.toString() });
      if (verdict === 'drop') return incoming.socket.destroy();
      outgoing.writeHead(answer.statusCode, answer.headers).end(body);
    });
    onward.once('error', () => incoming.socket.destroy());
    incoming.pipe(onward);
  });
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  t?.after(() => { proxy.closeAllConnections(); proxy.close(); });
  return { base: `http://127.0.0.1:${proxy.address().port}` };
}
