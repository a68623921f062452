# shellcheck shell=bash
# Reads what the test runners say of themselves, so that the closing summary repeats only what was printed.

# count_cargo LOG prints "passed failed skipped", summed over every test binary in a cargo test log.
count_cargo() {
  awk '/^test result: / {
         for (i = 1; i < NF; i++) {
           word = $(i + 1); sub(/;$/, "", word)
           if (word == "passed") p += $i
           if (word == "failed") f += $i
           if (word == "ignored") s += $i
         }
       }
       END { print p + 0, f + 0, s + 0 }' "$1"
}

# count_node LOG prints the same of node's test runner.
count_node() {
  awk '$1 == "ℹ" || $1 == "#" {
         if ($2 == "pass") p += $3
         if ($2 == "fail" || $2 == "cancelled") f += $3
         if ($2 == "skipped" || $2 == "todo") s += $3
       }
       END { print p + 0, f + 0, s + 0 }' "$1"
}

# count_simulator LOG prints the tests and the seeds that held, and those that did not.
count_simulator() {
  awk '/^test result: / { p += $4; f += $6 }
       / seeds held, / { p += $1; f += $4 }
       END { print p + 0, f + 0, 0 }' "$1"
}

# count_chaos LOG prints the scenarios that went well on an engine, and those that did not.
# scripts/hostile prints its attacks in the same form.
count_chaos() {
  awk '/^ok  / { p += 1 } /^FAIL / { f += 1 } END { print p + 0, f + 0, 0 }' "$1"
}

# count_fuzz LOG prints the fuzz targets that held, and those with a finding.
count_fuzz() {
  awk '/^ok  / { p += 1 } /^FAIL / { f += 1 } END { print p + 0, f + 0, 0 }' "$1"
}
