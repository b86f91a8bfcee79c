type Level = 'info' | 'warn' | 'error' | 'fatal';

/**
 * What the process says itself, before and beside the logger of the application: readable lines or one line of JSON
 * each (LOG_FORMAT). Errors go to the standard error.
 */
export class Lines {
  constructor(private readonly json: boolean) {}

  say(msg: string, level: Level = 'info'): void {
    if (this.json) this.write(level, { msg });
    else this.print(level, level === 'warn' ? `Warning: ${msg}` : msg);
  }

  /** An error that nothing explains, with its stack. */
  report(error: unknown): void {
    if (!this.json) return this.print('fatal', error);
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    this.write('fatal', { err: { type: name, message, stack }, msg: message });
  }

  /** What Node itself would print in several lines: its warnings, and an error that nobody has caught. */
  speakForNode(): void {
    if (!this.json) return;
    process.removeAllListeners('warning');
    process.on('warning', ({ name, message }) => this.say(`${name}: ${message}`, 'warn'));
    process.on('uncaughtException', (error) => {
      this.report(error);
      process.exit(1);
    });
  }

  private write(level: Level, line: object): void {
    this.print(level, JSON.stringify({ level, time: new Date().toISOString(), ...line }));
  }

  private print(level: Level, what: unknown): void {
    if (level === 'error' || level === 'fatal') console.error(what);
    else console.log(what);
  }
}
