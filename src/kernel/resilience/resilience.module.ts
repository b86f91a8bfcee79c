import { Global, Module } from '@nestjs/common';
import { Resilience } from './policies';

/** Global, for every module that calls outward must get its policy from the one registry that operators see. */
@Global()
@Module({ providers: [Resilience], exports: [Resilience] })
export class ResilienceModule {}
