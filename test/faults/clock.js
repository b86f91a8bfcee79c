/**
 * Moves the wall clock of the process that requires it, as a wrong step of NTP does: by CLOCK_STEP_MS with SIGUSR2, and
 * back to the truth with the next one. Timers and `performance` go on, as they do when the clock of a machine is set.
 */
const { Date: TrueDate } = globalThis;
let offset = 0;
const now = () => TrueDate.now() + offset;

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: (target) => new target(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});

process.on('SIGUSR2', () => {
  offset = offset === 0 ? Number(process.env.CLOCK_STEP_MS) : 0;
});
