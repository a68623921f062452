"""The reader of traces must see a missing, a late and a failed sync."""

from __future__ import annotations

import unittest

from order import read

WRITE = '7 pwrite64(12</d/counterfoil.db-wal>, "x", 4096, 0) = 4096\n'
SYNC = "7 fdatasync(12</d/counterfoil.db-wal>) = 0\n"
ANSWER = '9 writev(20<socket:[55]>, [{iov_base="HTTP/1.1 200 OK\\r\\n", iov_len=17}], 1) = 17\n'


class TestOrder(unittest.TestCase):
    def test_write_sync_answer(self) -> None:
        order = read(WRITE + SYNC + ANSWER)
        self.assertEqual((order.answers, order.syncs, order.wrong), (1, 1, []))

    def test_split_sync(self) -> None:
        split = "7 fdatasync(12</d/counterfoil.db-wal> <unfinished ...>\n"
        back = "7 <... fdatasync resumed>) = 0\n"
        self.assertEqual(read(WRITE + split + back + ANSWER).wrong, [])
        self.assertEqual(len(read(WRITE + split + ANSWER + back).wrong or []), 1)

    def test_without_sync(self) -> None:
        self.assertEqual(len(read(WRITE + ANSWER).wrong or []), 1)

    def test_sync_too_late(self) -> None:
        self.assertEqual(len(read(WRITE + ANSWER + SYNC).wrong or []), 1)

    def test_failed_sync(self) -> None:
        self.assertEqual(len(read(WRITE + SYNC.replace("= 0", "= -1 EIO (Input/output error)") + ANSWER).wrong or []), 1)

    def test_sync_of_another_file(self) -> None:
        self.assertEqual(len(read(WRITE + SYNC.replace("-wal", "") + ANSWER).wrong or []), 1)

    def test_answer_without_a_write(self) -> None:
        self.assertEqual(len(read(ANSWER).wrong or []), 1)


if __name__ == "__main__":
    unittest.main()
