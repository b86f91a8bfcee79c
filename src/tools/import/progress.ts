import type { WriteStream } from 'node:tty';
import { SingleBar } from 'cli-progress';

/** Where progress is shown: a terminal gets a bar, anything else a line every few seconds. */
export type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY'>>;

export interface Phase {
  advance(): void;
  /** Why nothing moves; `undefined` when it does again. */
  note(note: string | undefined): void;
  end(): void;
}

const lineEveryMs = 5000;

/** How far each phase of the import is, at which rate, and how long it will take. */
export class Progress {
  private current: Phase | undefined;

  constructor(private readonly out: Output | undefined) {}

  start(name: string, total: number): Phase {
    if (!this.out || total === 0) return { advance: () => undefined, note: () => undefined, end: () => undefined };
    return (this.current = this.out.isTTY ? bar(this.out, name, total) : lines(this.out, name, total));
  }

  note(note: string | undefined): void {
    this.current?.note(note);
  }
}

function bar(stream: Output, name: string, total: number): Phase {
  const meter = new Meter(total);
  const view = new SingleBar({
    stream,
    format: `${name.padEnd(9)} {bar} {value}/{total}  {rate}  {left}`,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    gracefulExit: false, // Ctrl-C is for us to hear
  });
  let waiting: string | undefined;
  const state = () => ({ rate: meter.rate, left: waiting ?? `${meter.left} left` });
  view.start(total, 0, state());
  return {
    advance: () => view.update((meter.done += 1), state()),
    note: (note) => {
      waiting = note;
      view.update(meter.done, state());
    },
    end: () => {
      view.update(meter.done, { rate: meter.rate, left: `in ${meter.elapsed}` });
      view.stop();
    },
  };
}

function lines(stream: Output, name: string, total: number): Phase {
  const meter = new Meter(total);
  const write = (text: string) => void stream.write(`${name}: ${text}\n`);
  const timer = setInterval(() => write(`${meter.done}/${total}, ${meter.rate}, ${meter.left} left`), lineEveryMs);
  let last: string | undefined;
  return {
    advance: () => void (meter.done += 1),
    note: (note) => {
      if (note !== last) write(note ?? 'goes on');
      last = note;
    },
    end: () => {
      clearInterval(timer);
      write(`${meter.done}/${total} in ${meter.elapsed}, ${meter.rate}`);
    },
  };
}

class Meter {
  done = 0;
  private readonly begun = performance.now();

  constructor(private readonly total: number) {}

  private get seconds(): number {
    return (performance.now() - this.begun) / 1000;
  }

  get elapsed(): string {
    return duration(this.seconds);
  }

  get rate(): string {
    return `${compact(this.done / this.seconds)}/s`;
  }

  get left(): string {
    return this.done === 0 ? '?' : duration((this.seconds / this.done) * (this.total - this.done));
  }
}

/** `4.1 s`, `3 min 20 s` */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${compact(seconds)} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const compact = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
