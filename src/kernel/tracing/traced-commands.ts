import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { idsIn, traced } from './tracing';

/** Each command of the bus is a span: @nestjs/cqrs has no place of its own to put one. */
@Injectable()
export class TracedCommands {
  constructor(commands: CommandBus) {
    const bus: { execute(command: object, ...more: unknown[]): Promise<unknown> } = commands;
    const execute = bus.execute.bind(bus);
    bus.execute = (command, ...more) => {
      const { name } = command.constructor;
      const describe = () => ({ attributes: { 'orderloom.command': name, ...idsIn(command) } });
      return traced(`command ${name}`, describe, () => execute(command, ...more));
    };
  }
}
