// A webhook receiver on loopback: keeps the raw bodies and the signatures it was sent.

import { createServer } from 'node:http';
import { eventually } from './processes.mjs';

export async function startReceiver(t, { answer = () => 200 } = {}) {
  const deliveries = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const delivery = { body: Buffer.concat(chunks), signature: request.headers['stripe-signature'], headers: request.headers };
      deliveries.push(delivery);
      response.writeHead(answer(delivery, deliveries.length)).end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t?.after(() => { server.closeAllConnections(); server.close(); });
  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    deliveries,
    events: () => deliveries.map(({ body }) => JSON.parse(body)),
    /** Waits for an event of this type and answers it with its delivery. */
    async received(type) {
      return eventually(`a delivery of ${type}`, () => deliveries.find(({ body }) => JSON.parse(body).type === type));
    },
  };
}
