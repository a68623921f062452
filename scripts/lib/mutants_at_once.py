"""Builds a crate once with many mutants in it, and runs each with the tests that reach it.

Building and linking the server for one mutant takes most of a minute, running the tests that matter a second or two. So every function
gets a body for each of its mutants, and a variable of the environment says which one is run. cargo-mutants says what the mutants
are; what cannot be built this way (constants, functions whose type is not written out) is left to it.
"""

import bisect
import collections
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time

RUNTIME = """
/// Which mutant runs, and which function was reached.
#[doc(hidden)]
pub mod mutants {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static CHOSEN: OnceLock<u32> = OnceLock::new();
    static TOLD: OnceLock<Option<std::ffi::OsString>> = OnceLock::new();
    static REACHED: [AtomicBool; PLACES] = [const { AtomicBool::new(false) }; PLACES];

    pub fn chosen(place: usize) -> u32 {
        if !REACHED[place].swap(true, Ordering::Relaxed) {
            if let Some(path) = TOLD.get_or_init(|| std::env::var_os("MUTANT_REACHED")) {
                let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
                let _ = file.and_then(|mut file| file.write_all(format!("{place}\\n").as_bytes()));
            }
        }
        *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}
"""
# The first tests to try; most mutants do not survive them.
FIRST = 12
# A superuser's URL: where it is given, the tests that need PostgreSQL judge as well.
POSTGRES = "COUNTERFOIL_TEST_POSTGRES_URL"


class Text:
    """A source file, addressed as cargo-mutants does: lines and columns from 1."""

    def __init__(self, path: pathlib.Path):
        self.text = path.read_text()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, span: dict) -> tuple:
        return tuple(self.starts[span[end]["line"] - 1] + span[end]["column"] - 1 for end in ("start", "end"))


def body_of(text: str, start: int, end: int):
    """Where the body of the function in this part of the text begins and ends, its braces left out."""
    found = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+)?(?:async\s+)?(?:unsafe\s+)?fn\s", re.M)
    found = found.search(text, text.rfind("\n", 0, start) + 1, end)
    opens = opening(text, found.end(), end) if found else None
    return None if opens is None or text[end - 1] != "}" else (opens + 1, end - 1)


def opening(text: str, start: int, end: int):
    """The first brace outside of the parameters, which may be taken apart in braces of their own."""
    depth = 0
    for at in range(start, end):
        if text[at] in "([":
            depth += 1
        elif text[at] in ")]":
            depth -= 1
        elif text[at] == "{" and depth == 0:
            return at
    return None


class Schemata:
    """One file with all of its mutants that can stand side by side."""

    def __init__(self, tree: pathlib.Path, file: str, mutants: list, first_place: int):
        self.path, self.file = tree / file, file
        self.source = Text(self.path)
        self.alone, self.places, self.constant = [], {}, set()
        regions = {}
        for mutant in mutants:
            told = mutant["function"]
            region = None if told is None or "impl " in told["return_type"] else self.source.span(told["span"])
            body = region and body_of(self.source.text, *region)
            if body is None:
                self.alone.append(mutant["name"])
            else:
                regions.setdefault(body, []).append(mutant)
                if re.search(r"\bconst\s+(async\s+)?fn\s", self.source.text[region[0]:body[0]]):
                    self.constant.add(mutant["name"])
        # A function in a function is part of the outer one.
        outer = [body for body in regions if not any(other[0] < body[0] and body[1] < other[1] for other in regions)]
        self.regions = {body: [] for body in sorted(outer)}
        for body, of_it in regions.items():
            home = next(each for each in outer if each[0] <= body[0] and body[1] <= each[1])
            self.regions[home] += of_it
        for place, body in enumerate(self.regions, first_place):
            self.places[body] = place

    def write(self, numbers: dict, dropped: set) -> None:
        """Writes the file, and remembers in which lines each mutant stands."""
        text, at, out, line = self.source.text, 0, [], 1
        self.lines = []

        def put(part: str, name=None) -> None:
            nonlocal line
            first = line
            line += part.count("\n")
            out.append(part)
            if name is not None:
                self.lines.append((first, line - 1, name))

        for body, mutants in self.regions.items():
            start, end = body
            kept = [mutant for mutant in mutants if mutant["name"] not in dropped]
            if not kept:
                continue
            # What reads a variable is not constant.
            head = text[at:start]
            cut = head.rfind("fn ")
            before = head[:cut]
            put(re.sub(r"const\s+$", "", before) + head[cut:])
            put(f" match crate::mutants::chosen({self.places[body]}) {{\n")
            for mutant in kept:
                low, high = self.source.span(mutant["span"])
                put(f"{numbers[mutant['name']]} => {{{text[start:low]}{mutant['replacement']} {text[high:end]}}}\n", mutant["name"])
            put(f"_ => {{{text[start:end]}}}\n}}")
            at = end
        put(text[at:])
        self.path.write_text("".join(out))

    def at_line(self, line: int):
        """The mutant in this line of what was written."""
        place = bisect.bisect_right(self.lines, (line, 10**9, "")) - 1
        for first, last, name in self.lines[max(0, place - 1):place + 1]:
            if first <= line <= last:
                return name
        return None


class Built:
    """The tests, with the mutants inside."""

    def __init__(self, tree: pathlib.Path, group, mutants: list, environment: dict, scratch: pathlib.Path):
        self.tree, self.group, self.environment, self.scratch = tree, group, environment, scratch
        by_file = collections.defaultdict(list)
        for mutant in mutants:
            by_file[mutant["file"]].append(mutant)
        self.alone = [each["name"] for file in ("lib", "main")
                      for each in by_file.pop(f"{group.folder}/src/{file}.rs", [])]
        self.numbers = {mutant["name"]: number for number, mutant in enumerate(mutants, 1)}
        self.files, places = [], 0
        for file, of_it in by_file.items():
            self.files.append(Schemata(tree, file, of_it, places))
            places += len(self.files[-1].regions)
        self.alone += [name for file in self.files for name in file.alone]
        self.place_of = {mutant["name"]: file.places[body] for file in self.files
                         for body, of_it in file.regions.items() for mutant in of_it}
        self.unviable = set()
        root = tree / group.folder / "src/lib.rs"
        runtime = RUNTIME.replace("PLACES", str(max(places, 1)))
        original = root.read_text()
        try:
            root.write_text(original + runtime)
            self.binaries = None
            while self.binaries is None:
                for file in self.files:
                    file.write(self.numbers, self.unviable | set(self.alone))
                if not self.refused():
                    self.binaries = self.build()
        finally:
            for file in self.files:
                file.path.write_text(file.source.text)
            root.write_text(original)

    def refused(self) -> bool:
        """Whether the compiler refuses something; what it refuses is left out from then on."""
        command = ["cargo", "check", "--package", self.group.package, *self.group.features, "--lib", "--message-format", "json"]
        done = subprocess.run(command, cwd=self.tree, env=self.environment, capture_output=True, text=True)
        if done.returncode == 0:
            return False
        self.leave_out(done.stdout, done.stderr)
        return True

    def leave_out(self, output: str, errors: str) -> None:
        known, unknown = set(), []
        for told in map(json.loads, output.splitlines()):
            message = told.get("message")
            if told.get("reason") != "compiler-message" or message["level"] != "error" or not message["spans"]:
                continue
            if not self.note(message, known):
                unknown.append(message["rendered"])
        if not known:
            sys.exit("the mutants do not compile side by side:\n" + "".join(unknown[:5]) + errors[-1000:])
        print(f"  {len(known)} left out by the compiler", file=sys.stderr, flush=True)

    def note(self, message: dict, known: set) -> bool:
        constant = re.search(r"cannot call non-const (?:associated function|method|function) `(?:.*::)?(\w+)", message["message"])
        if constant:
            # It has to be constant somewhere, so all of its mutants are built alone.
            names = [mutant["name"] for file in self.files for of_it in file.regions.values() for mutant in of_it
                     if mutant["function"]["function_name"].split("::")[-1].split("<")[0] == constant[1]
                     and mutant["name"] in file.constant]
            self.alone += names
            known.update(names)
            return bool(names)
        for span in message["spans"]:
            file = next((file for file in self.files if span["file_name"].endswith(file.file)), None)
            name = file and span["is_primary"] and file.at_line(span["line_start"])
            if name:
                self.unviable.add(name)
                known.add(name)
                return True
        return False

    def build(self):
        """The tests; `None` where the compiler refuses what it sees only now, such as a sum that must overflow."""
        command = ["cargo", "test", "--package", self.group.package, *self.group.targets, "--no-run", "--message-format", "json"]
        done = subprocess.run(command, cwd=self.tree, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            return self.leave_out(done.stdout, done.stderr)
        built = [json.loads(line) for line in done.stdout.splitlines()]
        found = [pathlib.Path(each["executable"]) for each in built if each.get("executable") and each.get("profile", {}).get("test")]
        # Another build may write to the same place while these run.
        kept = self.scratch.parent / "bin"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        return [pathlib.Path(shutil.copy2(each, kept)) for each in found]

    def list_tests(self) -> list:
        """Each test with its binary; those that read the source are none of them, for the source is another one."""
        found = []
        for binary in self.binaries:
            told = subprocess.run([binary, "--list", "--format", "terse"], check=True, capture_output=True, text=True).stdout
            names = [line.removesuffix(": test") for line in told.splitlines() if line.endswith(": test")]
            found += [(binary, name) for name in names if not name.startswith("tidy::")
                      and (POSTGRES in self.environment or not name.endswith("::postgres"))]
        return found

    def run(self, binary: pathlib.Path, tests: list, limit: float, to_the_end=False, **variables: str) -> tuple:
        """Runs these tests up to the first that fails: `passed`, `failed` or `timeout`, and the name of that test."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        environment = {**self.environment, "TMPDIR": str(self.scratch), "RUST_BACKTRACE": "0", "RUST_MIN_STACK": str(64 << 20),
                       **variables}

        def bound() -> None:
            # A mutant may write or allocate without end.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))

        process = subprocess.Popen([binary, "--exact", *tests], cwd=self.tree / self.group.folder, env=environment, preexec_fn=bound,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            return self.watch(process, time.monotonic() + limit, to_the_end)
        finally:
            broken_off = process.poll() is None
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            process.stdout.close()
            if broken_off:
                self.sweep(process.pid)

    def sweep(self, pid: int) -> None:
        """Drops the databases of tests that were killed with this process; db/testing.rs names them after it."""
        server, psql = self.environment.get(POSTGRES), shutil.which("psql")
        if server and psql:
            left = f"select format('drop database %I with (force)', datname) from pg_database where datname like 'cf\\_test\\_{pid}\\_%'"
            subprocess.run([psql, server, "--quiet"], input=f"{left} \\gexec\n", text=True, check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch(self, process: subprocess.Popen, ends_at: float, to_the_end: bool) -> tuple:
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = ends_at - time.monotonic()
                if left <= 0:
                    return "timeout", None
                if not selector.select(left):
                    continue
                more = os.read(process.stdout.fileno(), 65536)
                seen += more
                failed = re.search(rb"^test (\S+)(?: - should panic)? \.\.\. FAILED$", seen, re.M)
                if failed and not (more and to_the_end):
                    self.said = seen.decode(errors="replace")
                    return "failed", failed[1].decode()
                if not more:
                    return "passed" if process.wait() == 0 else "failed", None

    def reach(self, tests: list) -> tuple:
        """Which tests reach which function, and how long each takes. Each is run by itself, and has to pass."""
        reaching, took = collections.defaultdict(list), {}
        marks = self.scratch.parent / "reached"
        for number, (binary, name) in enumerate(tests, 1):
            marks.unlink(missing_ok=True)
            started = time.monotonic()
            self.said = ""
            outcome, _ = self.run(binary, [name], 300, to_the_end=True, MUTANT_REACHED=str(marks), MUTANT="0")
            if outcome != "passed":
                print(f"once more, because it did not pass by itself: {name}\n{self.said[-4000:]}", flush=True)
                started = time.monotonic()
                outcome, _ = self.run(binary, [name], 300, MUTANT_REACHED=str(marks), MUTANT="0")
            if outcome != "passed":
                sys.exit(f"the test {name} does not pass by itself without any change: {outcome}")
            took[binary, name] = time.monotonic() - started
            if marks.exists():
                for place in set(map(int, marks.read_text().split())):
                    reaching[place].append((binary, name))
            if number % 100 == 0:
                print(f"  {number} of {len(tests)} tests looked at", file=sys.stderr, flush=True)
        return reaching, took

    def judge(self, name: str, reaching: dict, took: dict, most: int | None) -> str:
        """`caught`, `missed` or `timeout`, by `most` tests where that is given."""
        # Those that are named after the file first, and then the quick ones.
        topic = pathlib.PurePath(name.split(":")[0]).stem
        tests = sorted(reaching.get(self.place_of[name], []), key=lambda test: (topic not in test[1], took[test]))[:most]
        starts = [0, FIRST, 4 * FIRST, 13 * FIRST, len(tests)]
        for some in (tests[low:high] for low, high in zip(starts, starts[1:])):
            for binary in self.binaries:
                names = [test for home, test in some if home == binary]
                if not names:
                    continue
                limit = 30 + 4 * sum(took[binary, test] for test in names)
                outcome, failed = self.run(binary, names, limit, MUTANT=str(self.numbers[name]))
                if outcome == "failed" and failed is not None:
                    # A test that fails now and then has caught nothing.
                    outcome, _ = self.run(binary, [failed], limit, MUTANT=str(self.numbers[name]))
                if outcome != "passed":
                    return "caught" if outcome == "failed" else "timeout"
        return "missed"
