import { Module } from '@nestjs/common';
import { OperationsController } from './operations.controller';

/** The control room. */
@Module({ controllers: [OperationsController] })
export class OperationsModule {}
