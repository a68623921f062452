"""Counts lines of tests and lines of code: those that are neither empty nor only a comment, of what this repository tracks.

A test is what only tests are compiled or run from: the folders `tests`, files `tests.rs`, `…_tests.rs`, `testing.rs`, modules behind
`#[cfg(test)]`, the simulator and its hooks, `fuzz`. The sandbox's own code is neither: products use it while they are being
built, and it stands in for Stripe in the tests. Nor is the benchmark. Snapshots, vectors, templates, scripts and lock files are not counted.
"""

import pathlib
import re
import subprocess
import sys

KINDS = {".rs": "//", ".mjs": "//", ".js": "//", ".py": "#", ".sql": "--"}
TEST_NAMES = ("tests.rs", "testing.rs")
TEST_PLACES = ("crates/simulator/", "crates/server/src/simulation.rs", "crates/stripe-sandbox/src/simulation.rs",
               "crates/server/src/web/views/samples", "fuzz/")


def lines(text: str, comment: str) -> list:
    """With their numbers out of the way: what is not empty and no comment."""
    found, quoted = [], False
    for line in text.splitlines():
        bare = line.strip()
        if comment == "#" and (bare.startswith('"""') or quoted):
            # A docstring is a comment.
            if bare.count('"""') % 2:
                quoted = not quoted
            continue
        if bare and not bare.startswith(comment):
            found.append(line)
    return found


def split(rust: list) -> tuple:
    """Lines of code and of tests in one file: a module behind `#[cfg(test)]` ends where a brace stands as far left as it began."""
    code, tests, at = 0, 0, 0
    while at < len(rust):
        if rust[at].strip() != "#[cfg(test)]":
            code, at = code + 1, at + 1
            continue
        indent = len(rust[at]) - len(rust[at].lstrip())
        end = at + 1
        while end < len(rust) and not re.match(rf"^\s{{{indent}}}(\}}|[^\s#].*;\s*$)", rust[end]):
            end += 1
        tests, at = tests + end + 1 - at, end + 1
    return code, tests


def main(root: pathlib.Path) -> None:
    counts = {"code": 0, "tests": 0, "beside": 0}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        path = root / name
        comment = KINDS.get(path.suffix)
        if comment is None or not path.is_file() or name.startswith("scripts/"):
            continue
        counted = lines(path.read_text(), comment)
        in_tests = "tests" in path.parts[len(root.parts):-1] or "test" in path.parts[len(root.parts):-1]
        if in_tests or path.name in TEST_NAMES or path.name.endswith("_tests.rs") or name.startswith(TEST_PLACES):
            counts["tests"] += len(counted)
        elif name.startswith(("crates/stripe-sandbox/src/", "bench/")):
            counts["beside"] += len(counted)
        elif path.suffix == ".rs":
            code, tests = split(counted)
            counts["code"] += code
            counts["tests"] += tests
        else:
            counts["code"] += len(counted)
    print(f"{counts['tests']} lines of tests, {counts['code']} lines of code: {counts['tests'] / counts['code']:.2f} to 1; "
          f"the sandbox and the benchmark beside them {counts['beside']}")


main(pathlib.Path(sys.argv[1]).resolve())
