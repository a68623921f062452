"""The mail server keeps what it took as a reader sees it, so that the judge can look for what no mail may hold."""

from __future__ import annotations

import asyncio
import json
import random
import smtplib
import tempfile
import unittest
from email.message import EmailMessage
from pathlib import Path

from check import provider_ids
from smtp import MailSink

ID = "sub_AAAAAAAAAAAA"
# Long enough to be broken into lines, at any place.
TEXT = f"Grüße,\n\n.a line that begins with a dot\n{'x' * 70} {ID} {'. ' * 400}\nthe end\n"


class TestMailSink(unittest.IsolatedAsyncioTestCase):
    async def _kept(self, mail: EmailMessage) -> dict[str, object]:
        mail["From"], mail["To"], mail["Message-ID"] = "Billing <billing@example.com>", "ada@example.com", "<1@x>"
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "mails.jsonl"
            sink = await MailSink(path, random.Random(1)).start()

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
                    client.send_message(mail)

            await asyncio.to_thread(send)
            await sink.stop()
            return dict(json.loads(path.read_text(encoding="utf-8")))

    async def test_a_text_is_kept_whole_however_it_was_packed(self) -> None:
        for packed in ("quoted-printable", "base64", "8bit"):
            mail = EmailMessage()
            mail["Subject"] = "Your licence"
            mail.set_content(TEXT, cte=packed)
            kept = await self._kept(mail)
            self.assertEqual((kept["to"], kept["message_id"], kept["subject"]), (["ada@example.com"], "<1@x>", "Your licence"))
            text = str(kept["text"]).replace("\r\n", "\n")
            self.assertIn(TEXT, text, packed)
            self.assertEqual(provider_ids(text), [ID])

    async def test_heads_and_attachments_are_read_too(self) -> None:
        mail = EmailMessage()
        mail["Subject"] = "Grüße an cus_AAAAAAAAAAAA"
        mail.set_content("hello")
        mail.add_attachment(f"payment {ID}".encode(), maintype="application", subtype="octet-stream")
        self.assertEqual(provider_ids(str((await self._kept(mail))["text"])), ["cus_AAAAAAAAAAAA", ID])


if __name__ == "__main__":
    unittest.main()
