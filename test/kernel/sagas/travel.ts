import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { idOf } from '../../../src/kernel/ids';
import { saga, type StepContext } from '../../../src/kernel/sagas/saga';

export interface Trip {
  readonly to: string;
}

/** What each step of the test's sagas sends; `name` is the step, or `undo` and the step. */
export class Do extends Command<unknown> {
  constructor(
    readonly name: string,
    readonly context: StepContext,
  ) {
    super();
  }
}

/** What was asked of the handlers of this process, and what they do about it. */
export const world = {
  calls: [] as Do[],
  before: (_name: string): unknown => undefined,
  answer: (name: string): unknown => `${name} done`,
};

@CommandHandler(Do)
export class DoIt implements ICommandHandler<Do> {
  constructor(private readonly store: EventStore) {}

  async execute(command: Do): Promise<unknown> {
    world.calls.push(command);
    await world.before(command.name);
    // ids come from the context: the step's repeat is the same command
    await this.store.append(effectOf(command.context.key), [{ type: `effect.${command.name.replace(' ', '-')}` }]);
    return world.answer(command.name);
  }
}

/** The stream in which all effects of a step and of its compensation are seen. */
export const effectOf = (key: string) => ({ type: 'effect', id: idOf(`effect of ${key}`) });

const step = (name: string) => ({
  execute: (_: Trip, context: StepContext) => new Do(name, context),
  compensate: (_: Trip, context: StepContext) => new Do(`undo ${name}`, context),
});

export const trip = saga<Trip>('trip', { version: 1 })
  .step('book', step('book'))
  .step('look', { execute: step('look').execute })
  .step('pay', { ...step('pay'), attempts: 2 });

export const visit = saga<Trip>('visit', { version: 1 })
  .step('book', step('book'))
  .step('ask', { ...step('ask'), awaited: true, timeoutMs: 300 })
  .step('pay', step('pay'));
