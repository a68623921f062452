"""Runs cargo-mutants over copies of the tree, with the right tests for each file, and counts what came of it."""

import argparse
import collections
import dataclasses
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import mutants_at_once

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = ROOT / "target/mutants"
# Of whole crates so many have to be noticed; of what is critical all.
GOAL = 0.9
WORDS = {"CaughtMutant": "caught", "MissedMutant": "missed", "Timeout": "timeout", "Unviable": "unviable"}

@dataclasses.dataclass
class Group:
    """Files of a crate, and the tests that are to notice every change in them."""

    package: str
    folder: str
    targets: list
    # What the tests switch on of the crate, where they do so by a dependency on it.
    features: list
    files: list

    def of(self, folder: str, *names: str) -> "Group":
        return dataclasses.replace(self, files=[f"{self.folder}/src/{folder}{name}.rs" for name in names])


CORE = Group("counterfoil-core", "crates/core", ["--lib", "--test", "it"], [], ["crates/core/src/**"])
LICENSE = Group("counterfoil-license", "crates/license", ["--lib", "--test", "it"], ["--features", "sign,client"],
                ["crates/license/src/**"])
SERVER = Group("counterfoil", "crates/server", ["--lib", "--test", "it"], [], ["crates/server/src/**"])
WHOLE = {"core": CORE, "license": LICENSE, "server": SERVER}
CRITICAL = [
    CORE.of("", "entitlement", "license", "link", "listing", "reduce", "return_url", "signing_key", "trial"),
    LICENSE.of("", "claims", "encoding", "keys", "rooted", "sign", "state", "status_list", "timeline", "token", "validation", "verify"),
    SERVER.of("", "providers/stripe/signature", "app/webhooks", "app/api_keys", "app/sessions", "app/own_sessions", "app/operators",
              "app/checkout", "app/issuing", "web/caller", "web/network", "web/way_back", "web/api/admin/mod"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants", allow_abbrev=False)
    for name in ("critical", "core", "license", "server", "all", "again", "resume", "alone", "one-by-one", "list", "report"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", type=int)
    parser.add_argument("--in-diff")
    wish = parser.parse_args()
    if not re.fullmatch(r"\d+/[1-9]\d*", wish.shard):
        parser.error("--shard wants K/N, such as 0/8")
    return wish


def chosen(wish: argparse.Namespace) -> list:
    """Crates, each with its mutants by name. Only of whole crates a sample is taken."""
    groups = [(whole, wish.sample) for name, whole in WHOLE.items() if wish.all or getattr(wish, name)]
    if wish.critical or not groups:
        groups += [(each, None) for each in CRITICAL]
    found = {}
    for group, sample in groups:
        mutants = listed(group, wish)
        for each in mutants:
            each["critical"] = group in CRITICAL
        if sample is not None:
            mutants = random.Random(wish.seed).sample(mutants, min(sample, len(mutants)))
        _, known = found.setdefault(group.package, (group, {}))
        # The critical ones come last, and stay so where a whole crate names them, too.
        known.update((each["name"], each) for each in mutants if not is_simulation(each))
    return [(group, sorted(known.values(), key=lambda each: each["name"])) for group, known in found.values()]


def tracked() -> list:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True)
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def refresh(tree: pathlib.Path) -> None:
    """Makes the copy equal to the tree. What is equal already is not touched, so its build stays warm; what differs gets the
    time of now, because a file that an interrupted run left changed has to be built again."""
    names = set(tracked())
    for name in sorted(names):
        source, copy = ROOT / name, tree / name
        text = source.read_bytes()
        if not copy.is_file() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
            shutil.copymode(source, copy)
    for folder in ("crates", ".cargo"):
        for copy in (tree / folder).rglob("*"):
            if copy.is_file() and copy.relative_to(tree).as_posix() not in names:
                copy.unlink()


def cargo_mutants(tree: pathlib.Path, group: Group, *more: str) -> list:
    command = ["cargo", "mutants", "--dir", str(tree), "--package", group.package, *more]
    for each in group.files:
        command += ["--file", each]
    return command


def is_simulation(mutant: dict) -> bool:
    """What no release has and no test of the crate is built with."""
    return mutant["file"].endswith(("src/simulation.rs", "src/points.rs")) or re.search(r"\bsimulated(::| ->)", mutant["name"])


def listed(group: Group, wish: argparse.Namespace) -> list:
    more = ["--list", "--json"] + (["--in-diff", str(pathlib.Path(wish.in_diff).resolve())] if wish.in_diff else [])
    told = subprocess.run(cargo_mutants(ROOT, group, *more), check=True, capture_output=True, text=True).stdout
    found = json.loads(told or "[]")
    if wish.file:
        found = [each for each in found if any(each["file"].endswith(ending) for ending in wish.file)]
    part, parts = (int(number) for number in wish.shard.split("/"))
    return found[part::parts]


def known() -> set:
    """Mutants that no test can notice, as the document names them: without line and column."""
    text = (ROOT / "docs/reliability/mutants.md").read_text()
    return {name.replace("\\|", "|") for name in re.findall(r"^\| `(crates/[^`]+)` \|", text, re.M)}


def record_file() -> pathlib.Path:
    return HOME / "outcomes.jsonl"


def recorded() -> dict:
    """The last outcome of each mutant, by name."""
    outcomes = {}
    if record_file().exists():
        for line in record_file().read_text().splitlines():
            name, outcome = json.loads(line)
            outcomes[name] = outcome
    return outcomes


def baseline(tree: pathlib.Path, group: Group) -> float:
    """The tests have to pass without any change. Answers how long they took once they were built."""
    environment = surroundings()
    command = ["cargo", "test", "--quiet", "--package", group.package, *group.targets]
    subprocess.run([*command, "--no-run"], cwd=tree, env=environment, check=True)
    started = time.monotonic()
    done = subprocess.run([*command, "--", "--skip", "tidy::"], cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode != 0 or not re.search(r"[1-9]\d* passed", done.stdout):
        sys.exit(f"{done.stdout[-4000:]}{done.stderr[-2000:]}\nthe tests fail without any change, or there is none")
    return time.monotonic() - started


def surroundings() -> dict:
    """On PostgreSQL too where there is one, with debug information left out and little shrinking: nobody reads why a mutant
    was noticed."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("COUNTERFOIL_") or name == mutants_at_once.POSTGRES}
    return {**kept, "CARGO_PROFILE_DEV_DEBUG": "0", "INSTA_UPDATE": "no", "CARGO_TERM_COLOR": "never",
            "PROPTEST_MAX_SHRINK_ITERS": "20"}


def run_chunk(tree: pathlib.Path, group: Group, names: list, limit: float) -> dict:
    output = tree.parent / "last"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    exactly = "^(?:" + "|".join(re.escape(name).replace("\\ ", " ") for name in names) + ")$"
    command = cargo_mutants(tree, group, "--in-place", "--output", str(output), "--no-shuffle", "--colors", "never")
    command += ["--baseline", "skip", "--timeout", str(limit), "--build-timeout", "900", "--re", exactly]
    command += ["--", *group.targets, "--", "--skip", "tidy::"]
    # That a field is left out is tried whatever the names say (27.1.0), so more may come back than was asked for.
    # 2 and 3 say that some were missed or took too long.
    done = subprocess.run(command, env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 2, 3):
        sys.exit(f"cargo-mutants broke off with {done.returncode}: {done.stderr[-2000:]}")
    told = json.loads((output / "mutants.out/outcomes.json").read_text())["outcomes"]
    came = {each["scenario"]["Mutant"]["name"]: WORDS.get(each["summary"], each["summary"]) for each in told}
    if set(names) - set(came):
        sys.exit(f"cargo-mutants did not try what it was told to: {sorted(set(names) - set(came))[:5]}")
    return came


def write_down(came: dict) -> None:
    with record_file().open("a") as file:
        for name, outcome in came.items():
            file.write(json.dumps([name, outcome]) + "\n")
            if outcome not in ("caught", "unviable"):
                print(f"{outcome}: {name}", flush=True)


def one_by_one(tree: pathlib.Path, group: Group, names: list) -> dict:
    """By cargo-mutants, which builds each."""
    took = baseline(tree, group)
    limit = max(30.0, 4 * took)
    print(f"{group.package}: {len(names)} mutants; the tests take {took:.1f} s, a mutant at most {limit:.0f} s", flush=True)
    came, files = {}, collections.defaultdict(list)
    for name in names:
        files[name.split(":")[0]].append(name)
    for file, names_there in files.items():
        found = run_chunk(tree, dataclasses.replace(group, files=[file]), names_there, limit)
        write_down(found)
        came.update(found)
        print(f"  {len(came)} of {len(names)}", file=sys.stderr, flush=True)
    return came


def at_once(tree: pathlib.Path, group: Group, mutants: list, wish: argparse.Namespace) -> dict:
    """All in one build, and what cannot be in it one by one."""
    built = mutants_at_once.Built(tree, group, mutants, surroundings(), tree.parent / "tmp")
    came = dict.fromkeys(built.unviable, "unviable")
    write_down(came)
    names = [each["name"] for each in mutants if each["name"] not in built.unviable and each["name"] not in built.alone]
    tests = built.list_tests()
    print(f"{group.package}: {len(names)} mutants in one build, {len(tests)} tests, {len(built.alone)} to be built alone", flush=True)
    reaching, took = built.reach(tests)
    critical = {each["name"] for each in mutants if each["critical"]}
    # In no order of theirs, so that a run that is broken off has tried a draw.
    random.Random(wish.seed).shuffle(names)
    for number, name in enumerate(names, 1):
        came[name] = built.judge(name, reaching, took, None if name in critical else wish.tests)
        write_down({name: came[name]})
        if number % 20 == 0:
            print(f"  {number} of {len(names)}", file=sys.stderr, flush=True)
    if built.alone and wish.alone:
        came.update(one_by_one(tree, group, built.alone))
    elif built.alone:
        came.update(dict.fromkeys(built.alone, "not tried"))
    return came


def run_group(group: Group, mutants: list, wish: argparse.Namespace) -> dict:
    before = recorded()
    if wish.report:
        return {each["name"]: before.get(each["name"], "not tried") for each in mutants}
    if wish.again or wish.resume:
        again = ("missed", "timeout") if wish.again else ()
        new = (None,) if wish.resume else ()
        mutants = [each for each in mutants if before.get(each["name"]) in again + new]
    names = [each["name"] for each in mutants]
    if wish.list or not names:
        print("".join(f"{name}\n" for name in names), end="")
        return {name: "listed" for name in names}
    place = HOME / group.package
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = place / "tree"
        refresh(tree)
        return one_by_one(tree, group, names) if wish.one_by_one else at_once(tree, group, mutants, wish)


def main() -> None:
    wish = arguments()
    HOME.mkdir(parents=True, exist_ok=True)
    began, came, critical = time.monotonic(), {}, set()
    for group, mutants in chosen(wish):
        critical.update(each["name"] for each in mutants if each["critical"])
        came.update(run_group(group, mutants, wish))
    no_mistakes = known()
    for name, outcome in came.items():
        if outcome == "missed" and re.sub(r":\d+:\d+:", ":", name, count=1) in no_mistakes:
            came[name] = "no mistake"
    if wish.list:
        print(f"{len(came)} mutants")
        return
    of_all = tell(came, time.monotonic() - began, wish.report)
    of_critical = collections.Counter(outcome for name, outcome in came.items() if name in critical)
    of_others = of_all - of_critical
    if of_critical and of_others:
        print(f"of these critical: {share(of_critical)}; of the others: {share(of_others)}")
    if of_critical["missed"] or (of_critical["not tried"] and not wish.report):
        sys.exit("what is critical has to be tried (--alone builds what cannot stand beside others) and noticed, all of it")
    if of_others["missed"] and noticed(of_others) < GOAL * viable(of_others):
        sys.exit(f"fewer than {GOAL:.0%} were noticed")


def viable(counts: collections.Counter) -> int:
    return noticed(counts) + counts["missed"] + counts["no mistake"]


def noticed(counts: collections.Counter) -> int:
    return counts["caught"] + counts["timeout"]


def share(counts: collections.Counter) -> str:
    return f"{noticed(counts)} of {viable(counts)}, {100 * noticed(counts) / viable(counts):.1f} %" if viable(counts) else "none"


def tell(came: dict, seconds: float, by_name: bool) -> collections.Counter:
    """Says what came of all of them."""
    counts = collections.Counter(came.values())
    if by_name:
        print("".join(f"{outcome}: {name}\n" for name, outcome in came.items() if outcome in ("missed", "timeout")), end="")
    print(f"{viable(counts) + counts['unviable']} mutants in {seconds:.0f} s: {counts['caught']} caught, "
          f"{counts['timeout']} stopped for going on too long, {counts['missed']} missed, {counts['no mistake']} that no test can "
          f"notice (docs/reliability/mutants.md), {counts['unviable']} did not compile; {share(counts)} of those that compile "
          "were noticed"
          + (f"; {counts['not tried']} were not tried" if counts["not tried"] else ""))
    return counts


if __name__ == "__main__":
    main()
