import { Injectable, type OnModuleInit } from '@nestjs/common';
import { METHOD_METADATA } from '@nestjs/common/constants.js';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { ACCESS } from '../../kernel/http/access';

/** Refuses to start with an operation that does not declare who may call it: it would be open, or closed, by accident. */
@Injectable()
export class DeclaredAccess implements OnModuleInit {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
  ) {}

  onModuleInit(): void {
    const undeclared = this.discovery.getControllers().flatMap(({ metatype, name }) => {
      const prototype = metatype?.prototype as Record<string, object> | undefined;
      return this.scanner
        .getAllMethodNames(prototype ?? null)
        .filter((method) => Reflect.hasMetadata(METHOD_METADATA, prototype![method]!))
        .filter((method) => !this.reflector.get(ACCESS, prototype![method] as never))
        .map((method) => `${name}.${method}`);
    });
    if (undeclared.length === 0) return;
    throw new Error(
      `No access is declared for ${undeclared.join(', ')}: add @Public() or @Access(role, { scope, own }) from kernel/http/access.`,
    );
  }
}
