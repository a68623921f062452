// Looks into the database beside the server, as an operator would. One shape for both engines: rows of text.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { freshPostgres, sql } from './servers.mjs';

const SQLITE_ROWS = `
import sqlite3, sys
rows = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True).execute(sys.argv[2]).fetchall()
sys.stdout.write("".join("|".join("" if value is None else str(value) for value in row) + "\\n" for row in rows))
`;

export const ENGINES = ['sqlite', 'postgres'];

/** An empty database of this engine: the server's environment, and `rows(statement)` to read it. */
export function freshDatabase(t, engine, directory) {
  if (engine === 'postgres') {
    const url = freshPostgres(t);
    return { env: { DATABASE_URL: url }, rows: (statement) => split(sql(url, statement)) };
  }
  const file = join(directory, 'counterfoil.db');
  return {
    env: {},
    rows(statement) {
      if (!existsSync(file)) throw new Error(`no counterfoil.db in the data directory, only: ${readdirSync(directory)}`);
      return split(execFileSync('python3', ['-c', SQLITE_ROWS, file, statement], { encoding: 'utf8', timeout: 20_000 }));
    },
  };
}

/** Every row ends with a newline, so that a row of one empty column is told from no row. */
function split(text) {
  return text.split('\n').slice(0, -1).map((line) => line.split('|'));
}
