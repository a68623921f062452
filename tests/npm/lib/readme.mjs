// Reads the tested blocks of README.md and compares what it prints with what the server answers.
//
// A block of kind `console` or `sh` is tested when an HTML comment `<!-- test: NAME -->` stands on the line before it. In a `console`
// block, a line that begins with `$ ` is a command (lines that end in `\` go on in the next one), and the lines after it are its output.
// All lines of an `sh` block are one command, whose output is not shown. The name `start` marks the block that starts the server; it is
// not run. `<!-- test: none because REASON -->` leaves a block out, in words.
//
// Ids, tokens, times and payment addresses differ from run to run: they have to be of the same kind, and what the README calls by one
// name is called by the real one in every later command. `…` inside a line of output stands for anything, and a line of `…` for any lines.

const COMMENT = /^<!--\s*test:\s*(.+?)\s*-->$/;
const FENCE = /^```(\w*)\s*$/;

export function blocksOf(markdown) {
  const blocks = [];
  const lines = markdown.split('\n');
  let name = null;
  for (let i = 0; i < lines.length; i += 1) {
    const comment = COMMENT.exec(lines[i]);
    const fence = FENCE.exec(lines[i]);
    if (comment) name = comment[1];
    if (!fence) {
      if (!comment && lines[i].trim() !== '') name = null;
      continue;
    }
    const end = lines.indexOf('```', i + 1);
    if (end < 0) throw new Error(`the block that begins on line ${i + 1} has no end`);
    const kind = fence[1];
    const text = lines.slice(i + 1, end);
    if (kind === 'console' || kind === 'sh') blocks.push({ line: i + 1, name, kind, text, commands: commandsOf(kind, text) });
    name = null;
    i = end;
  }
  return blocks;
}

function commandsOf(kind, lines) {
  if (kind === 'sh') return [{ command: lines.join('\n'), output: null }];
  const commands = [];
  let open = false;
  for (const line of lines) {
    if (open) {
      commands.at(-1).command += `\n${line.replace(/^> /, '')}`;
    } else if (line.startsWith('$ ')) {
      commands.push({ command: line.slice(2), output: [] });
    } else {
      if (commands.length === 0) throw new Error(`output without a command: ${line}`);
      commands.at(-1).output.push(line);
      continue;
    }
    open = line.endsWith('\\');
  }
  return commands;
}

/** What may differ from run to run, and the word that stands for it. The order matters: the longer forms come first. */
const KINDS = [
  ['license token', /\beyJ[\w-]+\.[\w-]+\.[\w-]+/g],
  ['time', /\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z/g],
  ['time', /\b\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}(?::\d{2})?)?(?: UTC)?\b/g],
  ['customer id', /\bcust_[0-9a-f]{32}\b/g],
  ['license id', /\blic_[0-9a-f]{32}\b/g],
  ['payment session', /\bcs_test_[A-Za-z0-9]+/g],
  ['provider id', /\b(?:cus|sub|in|pi|evt)_[A-Za-z0-9]{8,}\b/g],
  ['token', /\b[\w-]{32,}\b/g],
  ['unix time', /\b1[789]\d{8}\b/g],
];

/** Splits a text into literal parts and values that may differ. */
function partsOf(text) {
  const hits = [];
  for (const [kind, pattern] of KINDS) {
    for (const hit of text.matchAll(pattern)) {
      const end = hit.index + hit[0].length;
      if (hits.every((other) => end <= other.index || other.end <= hit.index)) {
        hits.push({ kind, pattern, value: hit[0], index: hit.index, end });
      }
    }
  }
  hits.sort((one, other) => one.index - other.index);
  const parts = [];
  let position = 0;
  for (const hit of hits) {
    parts.push({ literal: text.slice(position, hit.index) }, hit);
    position = hit.end;
  }
  parts.push({ literal: text.slice(position) });
  return parts;
}

/** The text with the kind in place of each value that may differ. */
export function normalize(text) {
  return partsOf(text).map(({ literal, kind }) => literal ?? `<${kind}>`).join('');
}

/** JSON is compared as JSON, so that the README may lay it out for reading. */
function canonical(text) {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return trimmed;
  try {
    return JSON.stringify(JSON.parse(trimmed), null, 1);
  } catch {
    return trimmed;
  }
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/**
 * Compares what the README shows with what came. Answers null where they agree, and else a sentence. `names` learns, for each value
 * that may differ, what the README calls it and what it really is.
 */
export function difference(expectedText, actualText, names = new Map()) {
  const expected = canonical(expectedText);
  const actual = canonical(actualText);
  const parts = partsOf(expected);
  const shape = parts.map(({ literal, pattern }) => (
    literal === undefined ? `(${pattern.source})` : literal.split('…').map(escaped).join('[^]*?')
  ));
  const match = new RegExp(`^${shape.join('')}$`).exec(actual);
  if (!match) return `the README shows\n${normalize(expected)}\nbut it was\n${normalize(actual)}`;
  parts.filter(({ value }) => value !== undefined).forEach(({ value }, i) => names.set(value, match[i + 1]));
  return null;
}

/** The command with the README's names replaced by the real ones, the longest first. */
export function withRealNames(command, names) {
  let result = command;
  for (const [said, real] of [...names].sort(([a], [b]) => b.length - a.length)) result = result.replaceAll(said, real);
  return result;
}
