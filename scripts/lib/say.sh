# shellcheck shell=bash
# Words for a person: what is happening, and why it stopped.
# Everything goes to standard error, so that functions can print a value on standard output.

say() { printf '%s\n' "$*" >&2; }

step() { printf '\n== %s\n' "$*" >&2; }

# Ends the run with one sentence that says what is wrong, and one that says what to do.
die() {
  printf '\nscripts/%s cannot go on: %s\n' "${0##*/}" "$1" >&2
  if [ $# -gt 1 ]; then printf '%s\n' "$2" >&2; fi
  exit 1
}
