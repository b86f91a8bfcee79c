import type { WriteStream } from 'node:tty';
import { Format, SingleBar } from 'cli-progress';

/** Where progress is shown: a terminal gets a bar, anything else a line every few seconds. */
export type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY'>>;

export interface Phase {
  advance(): void;
  end(): void;
}

const lineEveryMs = 5000;

/** How far each phase of the import is, at which rate, and how long it will take. */
export class Progress {
  private onNote: (note: string | undefined) => void = () => undefined;

  constructor(private readonly out: Output | undefined) {}

  start(name: string, total: number): Phase {
    if (!this.out || total === 0) return { advance: () => undefined, end: () => undefined };
    return this.out.isTTY ? this.bar(this.out, name, total) : this.lines(this.out, name, total);
  }

  /** Why nothing moves; `undefined` when it does again. */
  note(note: string | undefined): void {
    this.onNote(note);
  }

  private bar(stream: Output, name: string, total: number): Phase {
    const rate = rateMeter();
    let done = 0;
    let note = '';
    const bar = new SingleBar({
      stream,
      hideCursor: true,
      etaBuffer: 100,
      format: (options, params) => {
        const cells = (Format.BarFormat as (progress: number, options: unknown) => string)(params.progress, options);
        const left = note || (done < total ? `${duration((total - done) / (rate(done) || Infinity))} left` : duration(rate.seconds()));
        return `${name.padEnd(10)} ${cells} ${done}/${total}  ${perSecond(rate(done))}  ${left}`;
      },
      barsize: 30,
      barCompleteChar: '█',
      barIncompleteChar: '░',
    });
    bar.start(total, 0);
    this.onNote = (text = '') => {
      note = text;
      bar.update(done);
    };
    return {
      advance: () => bar.update((done += 1)),
      end: () => {
        this.onNote = () => undefined;
        note = '';
        bar.stop();
      },
    };
  }

  private lines(stream: Output, name: string, total: number): Phase {
    const rate = rateMeter();
    let done = 0;
    const write = (text: string) => stream.write(`${name}: ${text}\n`);
    const timer = setInterval(() => {
      write(`${done}/${total}, ${perSecond(rate(done))}, ${duration((total - done) / (rate(done) || Infinity))} left`);
    }, lineEveryMs);
    let noted: string | undefined;
    this.onNote = (note) => {
      if (note !== noted) write(note ?? 'goes on');
      noted = note;
    };
    return {
      advance: () => (done += 1),
      end: () => {
        clearInterval(timer);
        this.onNote = () => undefined;
        write(`${done}/${total} in ${duration(rate.seconds())}, ${perSecond(rate(done))}`);
      },
    };
  }
}

function rateMeter() {
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  return Object.assign((done: number) => done / seconds(), { seconds });
}

const perSecond = (rate: number) => `${rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`;

/** `4.1 s`, `3 min 20 s` */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
