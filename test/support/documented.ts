import type { OpenAPIObject } from '@nestjs/swagger';

/**
 * The statuses that an OpenAPI document names for a request, by its method and path. Undefined when it has no such
 * operation.
 */
export function documentedStatuses(document: OpenAPIObject, method: string, path: string): number[] | undefined {
  const segments = segmentsOf(path);
  const found = Object.entries(document.paths)
    .filter(([template, item]) => method.toLowerCase() in item && matches(segmentsOf(template), segments))
    // `/v1/users/me` is meant where `/v1/users/{id}` matches too
    .sort(([a], [b]) => a.split('{').length - b.split('{').length)[0];
  if (!found) return undefined;
  const { responses } = (found[1] as Record<string, { responses: object }>)[method.toLowerCase()]!;
  return Object.keys(responses).map(Number);
}

function segmentsOf(path: string): string[] {
  return path
    .split('?')[0]!
    .replace(/(.)\/$/, '$1')
    .split('/');
}

function matches(template: readonly string[], segments: readonly string[]): boolean {
  return (
    template.length === segments.length &&
    template.every((part, nth) => part === segments[nth] || (part.startsWith('{') && segments[nth] !== ''))
  );
}
