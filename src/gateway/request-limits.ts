import type { FastifyInstance } from 'fastify';
import { ProblemError } from '../kernel/http/problem';

/** No request of ours goes half as deep. Everything behind here may walk a body by recursion. */
const maxDepth = 20;

/** NUL, and halves of surrogate pairs: whole ones are one character under the u flag. */
const unstorable = /[\0\p{Surrogate}]/u;

/**
 * Refuses what nothing behind should have to bear: bodies nested without end, text that cannot be stored, and members
 * that every object has anyway, such as `constructor`, which validation does not see.
 */
export function limitRequests(fastify: FastifyInstance): void {
  // Many a client names a content type also when it sends nothing, such as a POST that needs no body.
  fastify.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request;
    if (!Number(headers['content-length']) && !headers['transfer-encoding']) delete headers['content-type'];
    done();
  });
  fastify.addHook('preValidation', (request, _reply, done) => {
    try {
      assertBearable(request.query);
      assertBearable(request.body);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
}

function assertBearable(part: unknown): void {
  let level = [part];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) {
      throw new ProblemError(400, 'body-too-deep', `The body is nested more than ${maxDepth} levels deep.`);
    }
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value === 'string') assertText(value);
      if (typeof value !== 'object' || value === null) continue;
      for (const [name, member] of Object.entries(value)) {
        assertText(name);
        if (name in Object.prototype) throw new ProblemError(400, 'member-reserved', `${name} should not exist.`);
        next.push(member);
      }
    }
    level = next;
  }
}

function assertText(text: string): void {
  if (!unstorable.test(text)) return;
  throw new ProblemError(400, 'unstorable-text', 'Text with a NUL or half a character cannot be stored.');
}
