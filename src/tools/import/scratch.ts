import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database, type JSValue, type Statement } from 'node-sqlite3-wasm';

/**
 * A database in a temporary file, for what is too large for memory. It is lost when it is closed. Nothing in it needs
 * to survive: the server knows what has been imported.
 */
export class Scratch {
  private readonly directory = mkdtempSync(join(tmpdir(), 'orderloom-import-'));
  private readonly database = new Database(join(this.directory, 'scratch.db'));
  private readonly statements = new Map<string, Statement>();

  constructor(schema: string) {
    this.database.exec(
      'pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive; pragma temp_store = file;' +
        'pragma cache_size = -16384',
    );
    this.database.exec(schema);
    // an open file stays usable without its name, and is gone even after kill -9; not so on Windows
    if (process.platform !== 'win32') this.removeFile();
  }

  run(sql: string, ...values: JSValue[]): void {
    this.prepared(sql).run(values);
  }

  /** Few rows: use {@link pages} for many. */
  all<Row>(sql: string, ...values: JSValue[]): Row[] {
    return this.prepared(sql).all(values) as Row[];
  }

  get<Row>(sql: string, ...values: JSValue[]): Row | undefined {
    return (this.prepared(sql).get(values) ?? undefined) as Row | undefined;
  }

  /**
   * All rows, some hundred at a time, so that the tables may change between them. `sql` orders by a key and takes it as
   * its first parameters, to go on behind it, and the number of rows as its last.
   */
  *pages<Row>(sql: string, first: JSValue[], keyOf: (row: Row) => JSValue[]): Generator<Row> {
    const limit = 500;
    for (let after = first; ;) {
      const rows = this.all<Row>(sql, ...after, limit);
      yield* rows;
      if (rows.length < limit) return;
      after = keyOf(rows.at(-1)!);
    }
  }

  begin(): void {
    this.database.exec('begin');
  }

  commit(): void {
    if (this.database.inTransaction) this.database.exec('commit');
  }

  close(): void {
    for (const statement of this.statements.values()) statement.finalize();
    this.statements.clear();
    this.database.close();
    this.removeFile();
  }

  private removeFile(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  private prepared(sql: string): Statement {
    const statement = this.statements.get(sql) ?? this.database.prepare(sql);
    this.statements.set(sql, statement);
    return statement;
  }
}
