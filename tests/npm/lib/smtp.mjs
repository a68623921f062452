// A mail server on loopback that takes every mail and keeps it.

import { createServer } from 'node:net';

export async function startMailServer(t) {
  const mails = [];
  const server = createServer((socket) => {
    let text = '';
    let recipients = [];
    let inBody = false;
    const say = (line) => socket.write(`${line}\r\n`);
    say('220 localhost ready');
    socket.setEncoding('utf8').on('error', () => {}).on('data', (chunk) => {
      text += chunk;
      for (;;) {
        const end = text.indexOf(inBody ? '\r\n.\r\n' : '\r\n');
        if (end < 0) return;
        const part = text.slice(0, end);
        text = text.slice(end + (inBody ? 5 : 2));
        if (inBody) {
          mails.push({ to: recipients, text: decoded(part) });
          recipients = [];
          inBody = false;
          say('250 taken');
        } else if (/^DATA/i.test(part)) {
          inBody = true;
          say('354 go on');
        } else if (/^QUIT/i.test(part)) {
          say('221 bye');
          socket.end();
        } else {
          const recipient = /^RCPT TO:<([^>]*)>/i.exec(part);
          if (recipient) recipients.push(recipient[1]);
          say('250 localhost');
        }
      }
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t?.after(() => server.close());
  return {
    url: `smtp://127.0.0.1:${server.address().port}`,
    mails,
    to: (address) => mails.filter(({ to }) => to.includes(address)),
  };
}

/** Undoes the transfer encoding, so that a test can read the words. */
function decoded(mail) {
  const [head, ...rest] = mail.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n').replace(/^\.\./gm, '.');
  if (/content-transfer-encoding: base64/i.test(head)) return `${head}\r\n\r\n${Buffer.from(body, 'base64').toString()}`;
  if (!/content-transfer-encoding: quoted-printable/i.test(head)) return `${head}\r\n\r\n${body}`;
  const bytes = body.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return `${head}\r\n\r\n${Buffer.from(bytes, 'latin1').toString()}`;
}
